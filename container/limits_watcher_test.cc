#include "plimsoll/container/limits_watcher.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "plimsoll/container/cgroup/fake_files.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/container/limits_watcher_thread.h"

namespace {

std::atomic<uint64_t> g_news{0};

}  // namespace

// Counts; the memory is malloc's, so that sanitizers see it as usual.
void* operator new(size_t size) {
  g_news.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }

namespace plimsoll::container {
namespace {

constexpr char kRoot[] = "/sys/fs/cgroup";

class LimitsWatcherTest : public testing::Test {
 protected:
  void SetUp() override {
    files_.Write("/proc/self/cgroup", "0::/pod/app\n");
    files_.Write("/proc/self/mountinfo",
                 "30 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n");
    Level("", "max 100000\n", "max\n");
    Level("/pod", "400000 100000\n", "1073741824\n");
    Level("/pod/app", "150000 100000\n", "536870912\n");
    Level("/pod/other", "50000 100000\n", "67108864\n");
  }

  void Level(const std::string& dir, const std::string& cpu, const std::string& memory) {
    files_.Write(kRoot + dir + "/cpu.max", cpu);
    files_.Write(kRoot + dir + "/memory.max", memory);
    files_.Write(kRoot + dir + "/memory.high", "max\n");
    files_.Write(kRoot + dir + "/pids.max", "max\n");
  }

  LimitsWatcher::Options Options() {
    LimitsWatcher::Options options;
    options.detect.files = &files_;
    options.detect.affinity = 8;
    options.detect.mem_total = uint64_t{16} << 30;
    options.detect.page_size = 4096;
    options.detect.environment = [](const char*) { return std::nullopt; };
    options.on_change = [this](const Limits& before, const Limits& after) {
      changes_.push_back({before.procs.value, after.procs.value});
    };
    options.clock = [this] { return now_; };
    return options;
  }

  bool PollLater(LimitsWatcher& watcher) {
    now_ += absl::Seconds(1);
    return watcher.Poll();
  }

  // Whether one of the next `looks` sees a change.
  bool PollUntilChanged(LimitsWatcher& watcher, int looks) {
    for (int i = 0; i < looks; ++i) {
      if (PollLater(watcher)) return true;
    }
    return false;
  }

  struct Change {
    int before, after;
    bool operator==(const Change&) const = default;
  };
  FakeFiles files_;
  absl::Duration now_ = absl::Seconds(100);
  std::vector<Change> changes_;
};

TEST_F(LimitsWatcherTest, TellsOldAndNewOfEachResizeAtAnyLevel) {
  LimitsWatcher watcher(Options());
  EXPECT_EQ(watcher.limits().procs.value, 2);
  EXPECT_FALSE(PollLater(watcher));

  files_.Write("/sys/fs/cgroup/pod/app/cpu.max", "300000 100000\n");
  EXPECT_TRUE(PollLater(watcher));
  EXPECT_EQ(changes_, (std::vector<Change>{{2, 3}}));

  files_.Write("/sys/fs/cgroup/pod/app/cpu.max", "max 100000\n");
  EXPECT_TRUE(PollLater(watcher));
  EXPECT_EQ(watcher.limits().procs.value, 4) << "the parent's quota";

  files_.Write("/sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_TRUE(PollLater(watcher));
  EXPECT_EQ(watcher.limits().cpu.quota->at, "/sys/fs/cgroup");

  files_.Write("/sys/fs/cgroup/pod/memory.max", "134217728\n");
  EXPECT_TRUE(PollLater(watcher));
  EXPECT_EQ(watcher.limits().memory.max->value, 134217728u);
  EXPECT_EQ(changes_.size(), 4u);
  EXPECT_FALSE(PollLater(watcher));
}

TEST_F(LimitsWatcherTest, LooksNoMoreOftenThanOnceInAnInterval) {
  LimitsWatcher watcher(Options());
  PollLater(watcher);
  const uint64_t calls = files_.calls();
  files_.Write("/sys/fs/cgroup/pod/app/cpu.max", "300000 100000\n");
  now_ += absl::Milliseconds(999);
  EXPECT_FALSE(watcher.Poll());
  EXPECT_EQ(files_.calls(), calls);
  now_ += absl::Milliseconds(1);
  EXPECT_TRUE(watcher.Poll());
}

TEST_F(LimitsWatcherTest, AllocatesNothingWhileNothingChanges) {
  LimitsWatcher watcher(Options());
  PollLater(watcher);
  const uint64_t before = g_news.load();
  for (int i = 0; i < 100; ++i) PollLater(watcher);
  EXPECT_EQ(g_news.load() - before, 0u);
  EXPECT_EQ(watcher.stats().looks, 101u);
  EXPECT_EQ(watcher.stats().detections, 0u);
}

TEST_F(LimitsWatcherTest, KeepsToOneSystemCallAndFourForEachLevel) {
  LimitsWatcher::Options options = Options();
  options.detect.affinity = std::nullopt;  // sched_getaffinity is one of them, and not in calls()
  LimitsWatcher watcher(std::move(options));
  uint64_t total = 0;
  for (int i = 0; i < 12; ++i) {
    const uint64_t before = files_.calls();
    PollLater(watcher);
    EXPECT_LE(files_.calls() - before, 1u + 4u * 3u);
    total += files_.calls() - before;
  }
  // The one call: /proc/self/cgroup six times, the mount table and the affinity mask three each.
  EXPECT_EQ(total, 12u * 4 * 3 + 6 + 3);
}

TEST_F(LimitsWatcherTest, FollowsTheProcessIntoAnotherCgroup) {
  LimitsWatcher watcher(Options());
  files_.Write("/proc/self/cgroup", "0::/pod/other\n");
  EXPECT_TRUE(PollUntilChanged(watcher, 2));
  EXPECT_EQ(watcher.limits().memory.max->value, 67108864u);
  EXPECT_EQ(watcher.limits().cpu.dir, "/sys/fs/cgroup/pod/other");
  files_.Write("/sys/fs/cgroup/pod/other/cpu.max", "500000 100000\n");
  EXPECT_TRUE(PollLater(watcher)) << "the new cgroup's files are the ones watched";
  EXPECT_EQ(watcher.limits().procs.value, 4);
}

TEST_F(LimitsWatcherTest, FollowsItsCgroupWhenThatIsRemovedAndMadeAgain) {
  LimitsWatcher watcher(Options());
  files_.RemoveBelow("/sys/fs/cgroup/pod/app");
  Level("/pod/app", "300000 100000\n", "268435456\n");
  EXPECT_TRUE(PollLater(watcher));
  EXPECT_EQ(watcher.limits().procs.value, 3);
  files_.Write("/sys/fs/cgroup/pod/app/cpu.max", "100000 100000\n");
  EXPECT_TRUE(PollLater(watcher)) << "reads the new file, not the one that is gone";
  EXPECT_EQ(watcher.limits().procs.value, 2);
}

TEST_F(LimitsWatcherTest, FollowsRemounts) {
  LimitsWatcher watcher(Options());
  files_.Write("/proc/self/mountinfo", "40 23 0:28 /pod /cg ro - cgroup2 cgroup rw,nsdelegate\n");
  files_.Write("/cg/app/cpu.max", "700000 100000\n");
  files_.ChangeMounts();
  EXPECT_TRUE(PollUntilChanged(watcher, 4));
  EXPECT_EQ(watcher.limits().cpu.dir, "/cg/app");
  EXPECT_EQ(watcher.limits().procs.value, 7);
}

TEST_F(LimitsWatcherTest, IgnoresMountsThatCameAndWent) {
  LimitsWatcher watcher(Options());
  for (int i = 0; i < 5; ++i) {
    files_.ChangeMounts();
    EXPECT_FALSE(PollLater(watcher));
  }
  EXPECT_EQ(watcher.stats().detections, 0u);
}

TEST_F(LimitsWatcherTest, SeesALimitFileThatAppears) {
  files_.Remove("/sys/fs/cgroup/pod/app/cpu.max");
  LimitsWatcher watcher(Options());
  EXPECT_EQ(watcher.limits().procs.value, 4);
  EXPECT_FALSE(PollLater(watcher));
  files_.Write("/sys/fs/cgroup/pod/app/cpu.max", "250000 100000\n");  // +cpu in subtree_control
  EXPECT_TRUE(PollLater(watcher));
  EXPECT_EQ(watcher.limits().procs.value, 3);
}

TEST_F(LimitsWatcherTest, HoldsALimitThatBecomesUnreadable) {
  for (const int error : {EIO, EACCES}) {
    SCOPED_TRACE(error);
    LimitsWatcher watcher(Options());
    files_.FailRead("/sys/fs/cgroup/pod/app/cpu.max", error);
    EXPECT_FALSE(PollLater(watcher));
    EXPECT_EQ(watcher.limits().procs.value, 2) << "held, not lifted";
    ASSERT_EQ(watcher.trouble().size(), 1u);
    EXPECT_EQ(watcher.trouble()[0].code, "bad-value");
    EXPECT_EQ(watcher.trouble()[0].file, "/sys/fs/cgroup/pod/app/cpu.max");
    EXPECT_FALSE(PollLater(watcher));

    files_.FailRead("/sys/fs/cgroup/pod/app/cpu.max", 0);
    files_.Write("/sys/fs/cgroup/pod/app/cpu.max", "300000 100000\n");
    EXPECT_TRUE(PollLater(watcher));
    EXPECT_EQ(watcher.limits().procs.value, 3);
    EXPECT_TRUE(watcher.trouble().empty());
    files_.Write("/sys/fs/cgroup/pod/app/cpu.max", "150000 100000\n");
  }
}

TEST_F(LimitsWatcherTest, HoldsALimitThatBecomesGarbage) {
  LimitsWatcher watcher(Options());
  files_.Write("/sys/fs/cgroup/pod/app/cpu.max", "150000 1");
  EXPECT_FALSE(PollLater(watcher));
  EXPECT_EQ(watcher.limits().procs.value, 2);
  ASSERT_FALSE(watcher.trouble().empty());
  EXPECT_EQ(watcher.trouble()[0].code, "bad-value");
}

TEST_F(LimitsWatcherTest, TightensAtOnceEvenWhenAnotherLevelIsUnreadable) {
  LimitsWatcher watcher(Options());
  files_.FailRead("/sys/fs/cgroup/pod/memory.max", EIO);
  files_.Write("/sys/fs/cgroup/pod/app/memory.max", "33554432\n");
  EXPECT_TRUE(PollLater(watcher));
  EXPECT_EQ(watcher.limits().memory.max->value, 33554432u);
  EXPECT_FALSE(watcher.trouble().empty());
}

TEST_F(LimitsWatcherTest, TakesWhatIsThereAfterAMoveToACgroupThatIsNotExposed) {
  LimitsWatcher watcher(Options());
  files_.Write("/proc/self/cgroup", "0::/../elsewhere\n");
  EXPECT_TRUE(PollUntilChanged(watcher, 2));
  EXPECT_FALSE(watcher.limits().cpu.quota.has_value());
  ASSERT_FALSE(watcher.trouble().empty());
  EXPECT_EQ(watcher.trouble()[0].code, "not-exposed");
}

TEST_F(LimitsWatcherTest, WatchesV1QuotaPeriodAndHierarchicalLimit) {
  files_ = FakeFiles();
  files_.Write("/proc/self/cgroup", "3:cpu,cpuacct:/app\n2:memory:/app\n");
  files_.Write("/proc/self/mountinfo",
               "30 23 0:28 / /cg/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
               "31 23 0:29 / /cg/memory ro - cgroup cgroup rw,memory\n");
  files_.Write("/cg/cpu/app/cpu.cfs_quota_us", "300000\n");
  files_.Write("/cg/cpu/app/cpu.cfs_period_us", "100000\n");
  files_.Write("/cg/memory/app/memory.limit_in_bytes", "9223372036854771712\n");
  files_.Write("/cg/memory/app/memory.stat", "rss 4096\nhierarchical_memory_limit 1073741824\n");
  LimitsWatcher watcher(Options());
  EXPECT_EQ(watcher.limits().procs.value, 3);
  PollLater(watcher);
  files_.Write("/cg/memory/app/memory.stat", "rss 8192\nhierarchical_memory_limit 1073741824\n");
  EXPECT_FALSE(PollLater(watcher));
  EXPECT_EQ(watcher.stats().detections, 0u) << "a counter in memory.stat is no change of a limit";
  files_.Write("/cg/memory/app/memory.stat", "rss 8192\nhierarchical_memory_limit 536870912\n");
  EXPECT_TRUE(PollLater(watcher));
  EXPECT_EQ(watcher.limits().memory.max->value, 536870912u);
  files_.Write("/cg/cpu/app/cpu.cfs_period_us", "50000\n");
  EXPECT_TRUE(PollUntilChanged(watcher, 4));
  EXPECT_EQ(watcher.limits().procs.value, 6);
}

TEST_F(LimitsWatcherTest, ClosesEveryDescriptor) {
  {
    LimitsWatcher watcher(Options());
    PollLater(watcher);
    files_.Write("/proc/self/cgroup", "0::/pod/other\n");
    EXPECT_TRUE(PollUntilChanged(watcher, 2));
    EXPECT_GT(files_.open_handles(), 0);
  }
  EXPECT_EQ(files_.open_handles(), 0);
}

TEST_F(LimitsWatcherTest, OnRealFilesSeesAWriteThroughItsKeptDescriptor) {
  std::string root = testing::TempDir() + "/watch-XXXXXX";
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  std::filesystem::create_directories(root + "/proc/self");
  std::filesystem::create_directories(root + "/sys/fs/cgroup");
  const auto write = [&root](const std::string& path, const std::string& text) {
    std::ofstream(root + path, std::ios::binary) << text;
  };
  write("/proc/self/cgroup", "0::/\n");
  write("/proc/self/mountinfo", "30 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  write("/sys/fs/cgroup/cpu.max", "150000 100000\n");

  std::promise<int> procs;
  LimitsWatcher::Options options = Options();
  options.detect.files = nullptr;
  options.detect.root = root;
  options.clock = nullptr;
  options.interval = absl::Milliseconds(1);
  options.on_change = [&procs](const Limits&, const Limits& after) {
    procs.set_value(after.procs.value);
  };
  LimitsWatcher watcher(std::move(options));
  {
    LimitsWatcherThread thread(&watcher);
    ASSERT_TRUE(thread.ok());
    // A descriptor that is open sees the new text because the file is the same one; no truncation,
    // so that no look can see it empty.
    std::fstream file(root + "/sys/fs/cgroup/cpu.max", std::ios::in | std::ios::out);
    file << "450000 100000\n" << std::flush;
    EXPECT_EQ(procs.get_future().get(), 5);
  }
  EXPECT_EQ(watcher.limits().procs.value, 5);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace plimsoll::container
