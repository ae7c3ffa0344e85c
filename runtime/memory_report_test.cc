#include "plimsoll/runtime/memory_report.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/heap.h"
#include "plimsoll/alloc/process_malloc.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc_world.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

// A sanitizer's malloc and shadow are the most of a process, and nobody tells of them.
constexpr bool kSanitized = base::kAsan || base::kTsan;
constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int kGoroutines = kSanitized ? 200 : 2000;
constexpr int64_t kStackUse = 20 << 10;  // what each touches at least

class MemoryReportTest : public testing::Test {
 protected:
  MemoryReportTest() {
    static const bool started = (StartCollector({.gogc = -1}), true);
    (void)started;
  }
};

int64_t Of(const MemoryReport& report, MemoryKind kind) { return report.of(kind).bytes; }

// Stays in memory, whatever malloc does.
struct Touched {
  explicit Touched(size_t bytes) : p(std::malloc(bytes)) { std::memset(p, 1, bytes); }
  ~Touched() { std::free(p); }
  Touched(const Touched&) = delete;
  void* p;
};

std::atomic<int> touched_stacks{0};

[[gnu::noinline]] void UseStackAndWait(const Channel<int>& end) {
  volatile char frame[kStackUse];
  for (size_t i = 0; i < sizeof frame; i += 1024) frame[i] = 1;
  touched_stacks.fetch_add(1, std::memory_order_relaxed);
  (void)end.Recv();
  (void)frame[0];
}

// The lines' sum is what they are for: it must be RSS, whoever says what that is, and what each
// says must be what this test did.
TEST_F(MemoryReportTest, TheLinesAddUpToRssAndEachIsWhatWasDone) {
  const MemoryReport before = TakeMemoryReport();
  constexpr int64_t kCollected = 48 * kMiB, kAllocated = 24 * kMiB, kMalloc = 40 * kMiB;

  gc::Root<char> collected = gc::make_noscan<char>(kCollected);
  std::memset(collected, 1, kCollected);
  std::vector<void*> allocated;
  for (int64_t n = 0; n < kAllocated; n += 1 << 10) {
    allocated.push_back(Heap::Allocate(1 << 10));
    std::memset(allocated.back(), 1, 1 << 10);
  }
  auto touched = std::make_unique<std::vector<std::unique_ptr<Touched>>>();
  for (int64_t n = 0; n < kMalloc; n += 1 << 16) {
    touched->push_back(std::make_unique<Touched>(1 << 16));
  }
  Channel<int> end;
  WaitGroup done;
  for (int i = 0; i < kGoroutines; ++i) done.Go([end] { UseStackAndWait(end); });
  while (touched_stacks.load(std::memory_order_relaxed) < kGoroutines) Yield();

  const MemoryReport report = TakeMemoryReport();
  // No SCOPED_TRACE: its stack is a thread's, and this goroutine goes on on another after a wait.
  std::printf("%s\n", report.Text().c_str());
  const auto rss = static_cast<int64_t>(report.rss);
  EXPECT_EQ(report.Accounted() + Of(report, MemoryKind::kUnaccounted), rss);
  ASSERT_NE(report.kernel_rss, 0u);
  const auto kernel_rss = static_cast<int64_t>(report.kernel_rss);
  EXPECT_LE(std::abs(kernel_rss - rss), kernel_rss / 50);
  if (!report.pagemap) GTEST_SKIP() << "no pagemap here: no line can be looked at";

  const auto rise = [&](MemoryKind kind) { return Of(report, kind) - Of(before, kind); };
  EXPECT_GE(rise(MemoryKind::kCollected), kCollected);
  EXPECT_LE(rise(MemoryKind::kCollected), kCollected + kMiB);
  EXPECT_GE(rise(MemoryKind::kAllocated), kAllocated - kMiB);
  EXPECT_LE(rise(MemoryKind::kAllocated), kAllocated + 2 * kMiB);
  const int64_t stacks = kGoroutines * kStackUse;
  EXPECT_GE(rise(MemoryKind::kStacksLive), stacks);
  EXPECT_GT(Of(report, MemoryKind::kProgramCode), 0);
  EXPECT_GT(Of(report, MemoryKind::kProgramData), 0);
  EXPECT_GT(Of(report, MemoryKind::kThreadStacks), 0);
  EXPECT_GT(report.page_tables, 0u);
  bool large = false, kibibyte = false;
  for (const MemoryClass& c : report.classes) {
    large |= c.collected && c.object_bytes == 0 && c.resident >= static_cast<uint64_t>(kCollected);
    // Some stand between guard pages instead, chosen by chance.
    kibibyte |= !c.collected && c.object_bytes == 1024 && c.objects + 100 >= allocated.size();
  }
  EXPECT_TRUE(large);
  EXPECT_TRUE(kibibyte);
  if (!kSanitized) {
    // Frames, and what is above and below them.
    EXPECT_LE(rise(MemoryKind::kStacksLive), 2 * stacks);
    EXPECT_GE(rise(MemoryKind::kMalloc), kMalloc - kMiB);  // some of it was free before
    EXPECT_LE(rise(MemoryKind::kMalloc), kMalloc + kMalloc / 8);
    // What this page is for.
    EXPECT_LE(std::abs(report.Accounted() - kernel_rss), kernel_rss / 50);
    EXPECT_LE(std::abs(Of(report, MemoryKind::kUnaccounted)), kernel_rss / 50);
  }

  end.Close();
  done.Wait();
  collected = nullptr;
  for (void* p : allocated) Heap::Free(p);
  touched.reset();
  gc::Collect();
  (void)Heap::ReleaseAll();
  const MemoryReport after = TakeMemoryReport();
  EXPECT_EQ(after.Accounted() + Of(after, MemoryKind::kUnaccounted),
            static_cast<int64_t>(after.rss));
  // Those that ended have none any more; it may still be in memory, and is then another line's.
  EXPECT_LE(Of(after, MemoryKind::kStacksLive), Of(report, MemoryKind::kStacksLive) - stacks / 2);
}

TEST_F(MemoryReportTest, TheLimitOfTheCgroupIsNotTheOneThatTheEnvironmentSets) {
  unsetenv("GOMEMLIMIT");
  const MemoryReport plain = TakeMemoryReport();
  EXPECT_EQ(plain.process_limit, plain.cgroup_limit);
  setenv("GOMEMLIMIT", "12345678", 1);
  const MemoryReport report = TakeMemoryReport();
  unsetenv("GOMEMLIMIT");
  EXPECT_EQ(report.cgroup_limit, plain.cgroup_limit);
  EXPECT_EQ(report.process_limit, 12345678u);
  EXPECT_NE(report.Text().find("12345678  limit for the process, by GOMEMLIMIT\n"),
            std::string::npos);
  EXPECT_EQ(report.Text().find("limit 12345678"), std::string::npos);
  EXPECT_NE(report.Json().find("\"process_limit_source\": \"environment\""), std::string::npos)
      << report.Json();
}

TEST_F(MemoryReportTest, JsonHasEachLine) {
  const std::string json = TakeMemoryReport().Json();
  for (int k = 0; k < kMemoryKinds; ++k) {
    const auto kind = static_cast<MemoryKind>(k);
    EXPECT_NE(json.find("\"" + std::string(MemoryKindKey(kind)) + "\""), std::string::npos) << k;
    EXPECT_FALSE(MemoryKindName(kind).empty());
  }
  for (const char* key : {"goal_bytes", "live_bytes", "external_bytes", "classes", "cgroup"}) {
    EXPECT_NE(json.find("\"" + std::string(key) + "\": "), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace plimsoll
