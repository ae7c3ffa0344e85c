#include "plimsoll/alloc/process_malloc.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

extern "C" int mallctl(const char* name, void* old_value, size_t* old_size, void* new_value,
                       size_t new_size) __attribute__((weak));

namespace plimsoll {
namespace {

unsigned ArenaOfThisThread() {
  unsigned arena = 0;
  size_t size = sizeof(arena);
  EXPECT_EQ(mallctl("thread.arena", &arena, &size, nullptr, 0), 0);
  return arena;
}

TEST(ProcessMallocTest, RefusesCpusThatAreNotAPositiveNumber) {
  for (double cpus : {0.0, -1.0, std::numeric_limits<double>::infinity(),
                      std::numeric_limits<double>::quiet_NaN()}) {
    const absl::Status s = ConfigureProcessMalloc({.cpus = cpus});
    EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument) << cpus;
    EXPECT_NE(s.message().find("cpus"), absl::string_view::npos);
  }
}

TEST(ProcessMallocTest, BindsThreadsToAsManyArenasAsTheQuotaHasCpus) {
  if (FindProcessMalloc() != ProcessMallocKind::kJemalloc) GTEST_SKIP() << "not on jemalloc";
  ASSERT_TRUE(ConfigureProcessMalloc({.cpus = 1.5, .memory_limit = MiB(128)}).ok());
  for (unsigned ordinal = 0; ordinal < 6; ++ordinal) {
    std::thread([ordinal] {
      const absl::Status s = BindThreadToArena(ordinal);
      ASSERT_TRUE(s.ok()) << s;
      EXPECT_EQ(ArenaOfThisThread(), ordinal % 2);
    }).join();
  }
}

TEST(ProcessMallocTest, DecayFollowsTheLimitEachTimeItIsConfigured) {
  if (FindProcessMalloc() != ProcessMallocKind::kJemalloc) GTEST_SKIP() << "not on jemalloc";
  const struct {
    std::optional<ByteCount> limit;
    ssize_t decay_ms;
  } kCases[] = {{MiB(128), 1000}, {std::nullopt, 5000}, {GiB(4), 5000}, {MiB(1023), 1000}};
  for (const auto& c : kCases) {
    ASSERT_TRUE(ConfigureProcessMalloc({.cpus = 2, .memory_limit = c.limit}).ok());
    for (const char* name : {"arenas.dirty_decay_ms", "arena.0.dirty_decay_ms"}) {
      ssize_t decay_ms = 0;
      size_t size = sizeof(decay_ms);
      ASSERT_EQ(mallctl(name, &decay_ms, &size, nullptr, 0), 0);
      EXPECT_EQ(decay_ms, c.decay_ms) << name;
    }
  }
}

TEST(ProcessMallocTest, ResidentFollowsWhatTheProgramHolds) {
  const std::optional<ByteCount> before = ProcessMallocResident();
  if (FindProcessMalloc() != ProcessMallocKind::kJemalloc) {
    EXPECT_FALSE(before.has_value());
    return;
  }
  ASSERT_TRUE(before.has_value());
  std::vector<void*> held;
  for (int i = 0; i < 64; ++i) {
    held.push_back(std::malloc(MiB(1).value()));
    std::memset(held.back(), 1, MiB(1).value());
  }
  const std::optional<ByteCount> during = ProcessMallocResident();
  EXPECT_GE(during->value(), before->value() + MiB(60).value());
  for (void* p : held) std::free(p);
}

}  // namespace
}  // namespace plimsoll
