// malloc.cc as a binary's malloc: this test runs on it. Under a sanitizer, whose malloc cannot be
// replaced, it is skipped.
#include <dlfcn.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/heap.h"
#include "plimsoll/alloc/heap_ops.h"

extern "C" void free_sized(void* p, size_t size) __attribute__((weak));
extern "C" void free_aligned_sized(void* p, size_t alignment, size_t size) __attribute__((weak));
extern "C" void cfree(void* p) __attribute__((weak));

namespace plimsoll {
namespace {

class MallocTest : public testing::Test {
 protected:
  void SetUp() override {
    // Where another malloc was linked in, nobody has asked our heap for a page.
    if (Heap::Stats().mapped.value() == 0) GTEST_SKIP() << "the process runs on another malloc";
  }
};
using MallocDeathTest = MallocTest;

// Keeps the compiler from knowing what malloc answers.
template <typename T>
T Opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

uint64_t ResidentBytes() {
  FILE* f = fopen("/proc/self/statm", "r");
  unsigned long size = 0;
  unsigned long resident = 0;
  EXPECT_EQ(fscanf(f, "%lu %lu", &size, &resident), 2);
  fclose(f);
  return resident * 4096;
}

TEST_F(MallocTest, EveryEntryPointAnswersAlignedUsableMemory) {
  void* p;
  std::vector<void*> all = {malloc(100),
                            calloc(10, 10),
                            realloc(nullptr, 100),
                            memalign(64, 100),
                            aligned_alloc(64, 128),
                            valloc(100),
                            pvalloc(100),
                            reallocarray(nullptr, 10, 10)};
  ASSERT_EQ(posix_memalign(&p, 4096, 100), 0);
  all.push_back(p);
  for (void* q : all) {
    ASSERT_NE(q, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(q) % 16, 0u);
    ASSERT_GE(malloc_usable_size(q), 100u);
    memset(q, 1, malloc_usable_size(q));
  }
  EXPECT_EQ(reinterpret_cast<uintptr_t>(all[3]) % 64, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(all[5]) % 4096, 0u);
  EXPECT_EQ(malloc_usable_size(all[6]) % 4096, 0u);
  for (void* q : all) free(q);
  if (free_sized != nullptr) free_sized(malloc(100), 100);
  if (free_aligned_sized != nullptr) free_aligned_sized(aligned_alloc(64, 100), 64, 100);
  if (cfree != nullptr) cfree(malloc(1));
}

TEST_F(MallocTest, ZeroBytesAreAPointerOfTheirOwn) {
  void* a = Opaque(malloc(0));
  void* b = Opaque(malloc(0));
  EXPECT_NE(a, nullptr);
  EXPECT_NE(a, b);
  free(a);
  EXPECT_EQ(realloc(b, 0), nullptr);  // frees, as glibc's does
}

TEST_F(MallocTest, WhatCannotBeIsENOMEMOrEINVAL) {
  const size_t huge = Opaque(static_cast<size_t>(PTRDIFF_MAX) + 1);
  const size_t half = Opaque(SIZE_MAX / 2 + 1);
  void* kept = malloc(10);
  const struct {
    const char* what;
    void* (*call)(size_t, size_t, void*);
  } kCases[] = {
      {"malloc", [](size_t n, size_t, void*) { return malloc(n); }},
      {"calloc overflow", [](size_t, size_t n, void*) { return calloc(n, 2); }},
      {"calloc", [](size_t n, size_t, void*) { return calloc(n, 1); }},
      {"realloc", [](size_t n, size_t, void* p) { return realloc(p, n); }},
      {"reallocarray", [](size_t, size_t n, void* p) { return reallocarray(p, n, 2); }},
      {"memalign", [](size_t n, size_t, void*) { return memalign(64, n); }},
      {"pvalloc", [](size_t, size_t, void*) { return pvalloc(Opaque(SIZE_MAX - 10)); }},
  };
  for (const auto& c : kCases) {
    errno = 0;
    EXPECT_EQ(c.call(huge, half, kept), nullptr) << c.what;
    EXPECT_EQ(errno, ENOMEM) << c.what;
  }
  free(kept);
  void* p = this;
  EXPECT_EQ(posix_memalign(&p, 3, 8), EINVAL);
  EXPECT_EQ(posix_memalign(&p, 4, 8), EINVAL);  // no multiple of a pointer
  errno = EBADF;
  EXPECT_EQ(posix_memalign(&p, 64, huge), ENOMEM);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(p, this);
  EXPECT_EQ(aligned_alloc(Opaque(size_t{24}), 48), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(MallocTest, FreeKeepsErrno) {
  std::vector<void*> held;
  for (size_t size = 1; size < 4'000'000; size = size * 3 + 1) held.push_back(malloc(size));
  errno = EBADF;
  for (void* p : held) free(p);
  EXPECT_EQ(errno, EBADF);
}

TEST_F(MallocTest, NewAndDeleteInEveryForm) {
  struct alignas(256) Wide {
    char bytes[300];
  };
  delete Opaque(new int(5));
  delete[] Opaque(new double[1000]);
  Wide* wide = Opaque(new Wide);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(wide) % 256, 0u);
  delete wide;
  delete[] Opaque(new Wide[3]);
  EXPECT_EQ(operator new(Opaque(SIZE_MAX / 2), std::nothrow), nullptr);
  EXPECT_THROW((void)operator new(Opaque(SIZE_MAX / 4)), std::bad_alloc);
  EXPECT_THROW((void)operator new(Opaque(SIZE_MAX / 4), std::align_val_t(64)), std::bad_alloc);
}

TEST_F(MallocTest, TheNewHandlerGetsItsChances) {
  static int calls = 0;
  std::set_new_handler([] {
    if (++calls == 3) std::set_new_handler(nullptr);
  });
  EXPECT_THROW((void)operator new(Opaque(SIZE_MAX / 4)), std::bad_alloc);
  EXPECT_EQ(calls, 3);
}

TEST_F(MallocTest, ANewHandlerThatThrowsIsHeardByEveryForm) {
  static int calls;
  struct Given {};
  std::set_new_handler([] {
    if (++calls % 2 == 0) throw Given();
  });
  calls = 0;
  EXPECT_EQ(operator new(Opaque(SIZE_MAX / 4), std::nothrow), nullptr);
  EXPECT_EQ(operator new[](Opaque(SIZE_MAX / 4), std::nothrow), nullptr);
  EXPECT_EQ(operator new(Opaque(SIZE_MAX / 4), std::align_val_t(64), std::nothrow), nullptr);
  EXPECT_EQ(operator new[](Opaque(SIZE_MAX / 4), std::align_val_t(64), std::nothrow), nullptr);
  EXPECT_EQ(calls, 8);
  EXPECT_EQ(std::uncaught_exceptions(), 0);
  EXPECT_THROW((void)operator new(Opaque(SIZE_MAX / 4)), Given);
  EXPECT_THROW((void)operator new(Opaque(SIZE_MAX / 4), std::align_val_t(64)), Given);
  EXPECT_EQ(calls, 12);
  std::set_new_handler(nullptr);
}

TEST_F(MallocTest, InfoIsJsonAndMallinfoCountsWhatIsHeld) {
  const size_t before = mallinfo2().uordblks;
  std::vector<void*> held;
  for (int i = 0; i < 1000; ++i) held.push_back(Opaque(malloc(1000)));
  EXPECT_GE(mallinfo2().uordblks, before + 1'000'000);
  char* text = nullptr;
  size_t size = 0;
  FILE* f = open_memstream(&text, &size);
  EXPECT_EQ(malloc_info(0, f), 0);
  fclose(f);
  EXPECT_EQ(text[0], '{');
  EXPECT_NE(strstr(text, "\"live_bytes\": "), nullptr);
  free(text);
  for (void* p : held) free(p);
  EXPECT_GE(malloc_trim(0), 0);
}

pthread_key_t late_key;
int late_rounds;

// Runs in every round of key destruction that there is, and allocates in each.
void LateDestructor(void* value) {
  free(value);
  void* p = malloc(333);
  memset(p, 1, 333);
  if (++late_rounds < 10) pthread_setspecific(late_key, p);
}

TEST_F(MallocTest, DestructorsMayAllocateWhenTheThreadsCacheIsGone) {
  ASSERT_EQ(pthread_key_create(&late_key, &LateDestructor), 0);
  for (int i = 0; i < 50; ++i) {
    late_rounds = 0;
    std::thread([] { pthread_setspecific(late_key, malloc(10)); }).join();
    EXPECT_GE(late_rounds, 2);
  }
  pthread_key_delete(late_key);
}

pthread_key_t first_use_key;
thread_local int first_use_rounds __attribute__((tls_model("initial-exec")));

// Waits until `first_use_rounds` are over; its free is the thread's first use of the heap.
void FirstUse(void* p) {
  if (--first_use_rounds > 0) {
    pthread_setspecific(first_use_key, p);
    return;
  }
  free(p);
  void* again = malloc(333);
  memset(again, 1, 333);
  free(again);
}

TEST_F(MallocTest, AThreadThatUsesTheHeapInADestructorFirstLeavesNoCache) {
  free(Opaque(malloc(10)));
  ASSERT_EQ(pthread_key_create(&first_use_key, &FirstUse), 0);
  for (const int round : {1, 2, 3, 4}) {
    struct Task {
      void* p;
      int round;
    };
    const uint64_t before = Heap::Stats().caches;
    for (int i = 0; i < 20; ++i) {
      Task task = {malloc(20'000), round};
      pthread_t thread;
      const auto run = [](void* of) -> void* {
        first_use_rounds = static_cast<Task*>(of)->round;
        pthread_setspecific(first_use_key, static_cast<Task*>(of)->p);
        return nullptr;
      };
      ASSERT_EQ(pthread_create(&thread, nullptr, run, &task), 0);
      ASSERT_EQ(pthread_join(thread, nullptr), 0);
    }
    // After the fourth round there is nobody to give it back but who finds the thread gone, which
    // it is a moment after it was joined. A minute stands for never.
    for (int i = 0; round == 4 && i < 6000 && Heap::Stats().caches > before; ++i) {
      usleep(10'000);
      malloc_trim(0);
    }
    EXPECT_EQ(Heap::Stats().caches, before) << "first use in round " << round;
  }
  pthread_key_delete(first_use_key);
}

TEST_F(MallocTest, TenThousandThreadsLeaveLittleMoreThanAThousand) {
  auto spawn = [](int count) {
    for (int i = 0; i < count; ++i) {
      std::thread([] {
        std::vector<void*> held;
        for (size_t size = 8; size < 5000; size += 300) held.push_back(malloc(size));
        for (void* p : held) free(p);
      }).join();
    }
  };
  spawn(1000);
  const uint64_t after_1000 = ResidentBytes();
  spawn(9000);
  EXPECT_LE(ResidentBytes(), after_1000 + (1 << 20));
}

TEST_F(MallocTest, ForkedChildrenOfABusyProgramAllocateAndFree) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int t = 0; t < 3; ++t) {
    busy.emplace_back([&stop, t] {
      unsigned n = t;
      std::vector<void*> held(200, nullptr);
      while (!stop.load(std::memory_order_relaxed)) {
        n = n * 1664525 + 1013904223;
        void*& slot = held[n % 200];
        free(slot);
        slot = malloc((n >> 16) % (n % 50 == 0 ? 200'000 : 2000));
      }
      for (void* p : held) free(p);
    });
  }
  void* inherited = malloc(500);
  for (int i = 0; i < 60; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      free(inherited);
      std::vector<void*> held;
      for (int k = 0; k < 300; ++k) held.push_back(malloc(k * 97));
      for (void* p : held) free(p);
      std::thread([] { free(malloc(10'000)); }).join();
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
  free(inherited);
}

TEST_F(MallocTest, AChildThatIsForkedWhileAThreadStepsCanStep) {
  while (alloc::core.stepping.exchange(true)) std::this_thread::yield();
  const pid_t child = fork();
  if (child == 0) _exit(alloc::core.stepping.load() ? 3 : 0);
  alloc::core.stepping.store(false);
  ASSERT_GT(child, 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Threads that leave memory idle at their end, and more stacks than glibc keeps: it unmaps them
// with its lock on stacks held, and frees what belongs to them. The status is 0.
[[noreturn]] void EndManyThreads() {
  constexpr int kThreads = 24;
  static pthread_barrier_t all_there;
  pthread_barrier_init(&all_there, nullptr, kThreads);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 8 << 20);
  pthread_t threads[kThreads];
  for (pthread_t& thread : threads) {
    const auto run = [](void*) -> void* {
      for (size_t size = 16; size <= 32768; size = size * 9 / 8 + 16) free(Opaque(malloc(size)));
      pthread_barrier_wait(&all_there);
      return nullptr;
    };
    if (pthread_create(&thread, &attributes, run, nullptr) != 0) _exit(3);
  }
  // By another thread than main, whose memory it is: so the free takes its slow path.
  std::thread([&threads] {
    for (pthread_t thread : threads) {
      if (pthread_join(thread, nullptr) != 0) _exit(4);
    }
  }).join();
  _exit(0);
}

// Fails by never ending: free must take no lock of libc's.
TEST_F(MallocDeathTest, ThreadsEndWhileMuchIsIdle) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process that never had a thread
  EXPECT_EXIT(EndManyThreads(), testing::ExitedWithCode(0), "");
}

int Threads() {
  int threads = 0;
  FILE* f = fopen("/proc/self/status", "r");
  char line[256];
  while (fgets(line, sizeof(line), f) != nullptr) (void)sscanf(line, "Threads: %d", &threads);
  fclose(f);
  return threads;
}

// Who gives memory back is there when it is needed. The status is 0.
[[noreturn]] void CountThreads(bool of_its_own, int ours = 1) {
  constexpr size_t kMuch = size_t{40} << 20;
  if (Threads() != 1) _exit(3);
  int before = 1;
  if (of_its_own) {
    // It stays: one that has been joined may be counted for a moment yet.
    std::thread(&pause).detach();
    ++before;
  }
  if (Threads() != before) _exit(4);
  void* p = Opaque(malloc(kMuch));
  if (Threads() != before + (of_its_own ? ours : 0)) _exit(5);
  free(p);
  if (Threads() != before + ours) _exit(6);
  _exit(0);
}

TEST_F(MallocDeathTest, AThreadGivesMemoryBackWhereMuchWasHeld) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(CountThreads(false), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(CountThreads(true), testing::ExitedWithCode(0), "");
}

// The thread sleeps when the frees begin: it must hear of them though no page is idle.
TEST_F(MallocTest, WhatABlockedThreadAllocatedGoesBackWhenOthersFreedIt) {
  constexpr size_t kCount = 60'000;
  constexpr size_t kSize = 1000;
  std::vector<void*> objects;
  std::atomic<int> turn{0};
  std::thread owner([&] {
    for (size_t i = 0; i < kCount; ++i) objects.push_back(memset(malloc(kSize), 1, kSize));
    turn = 1;
    turn.notify_all();
    turn.wait(1);
  });
  turn.wait(0);
  const uint64_t held = ResidentBytes();
  for (void* p : objects) free(p);
  // About seven seconds. A minute stands for never.
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (ResidentBytes() > held - kCount * kSize * 3 / 4 &&
         std::chrono::steady_clock::now() < give_up) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_LE(ResidentBytes(), held - kCount * kSize * 3 / 4);
  turn = 2;
  turn.notify_all();
  owner.join();
}

// Waits for the thread to have found the limit. The status is 0.
[[noreturn]] void AwaitLimit(uint64_t most) {
  free(Opaque(malloc(size_t{40} << 20)));
  for (int i = 0; i < 600 && Heap::Stats().limit.value() > most; ++i) usleep(100'000);
  _exit(Heap::Stats().limit.value() > most ? 3 : 0);
}

TEST_F(MallocDeathTest, TheThreadFollowsTheMemoryLimit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the process begins with this environment
  setenv("GOMEMLIMIT", "64MiB", 1);
  EXPECT_EXIT(AwaitLimit(uint64_t{56} << 20), testing::ExitedWithCode(0), "");
  unsetenv("GOMEMLIMIT");
}

// The thread cannot be made while there is no address space for its stack. The status is 0.
[[noreturn]] void GetTheThreadLate() {
  void* p = Opaque(malloc(size_t{40} << 20));
  FILE* f = fopen("/proc/self/statm", "r");
  unsigned long pages = 0;
  if (fscanf(f, "%lu", &pages) != 1) _exit(3);
  fclose(f);
  rlimit old = {};
  getrlimit(RLIMIT_AS, &old);
  const rlimit none = {.rlim_cur = pages * 4096, .rlim_max = old.rlim_max};
  if (setrlimit(RLIMIT_AS, &none) != 0) _exit(4);
  free(p);
  if (Threads() != 1) _exit(5);
  setrlimit(RLIMIT_AS, &old);
  // It is tried again a second later; a minute stands for never.
  for (int i = 0; i < 6000 && Threads() == 1; ++i) {
    usleep(10'000);
    free(Opaque(malloc(size_t{1} << 20)));
  }
  _exit(Threads() == 2 ? 0 : 6);
}

TEST_F(MallocDeathTest, AThreadThatCouldNotBeMadeIsTriedAgain) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(GetTheThreadLate(), testing::ExitedWithCode(0), "");
}

// What is mapped for writing is filled with memory. The status is 0.
[[noreturn]] void LockAllMemory() {
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) _exit(4);
  free(Opaque(malloc(100'000)));
  _exit(ResidentBytes() < uint64_t{60} << 20 ? 0 : 3);
}

TEST_F(MallocDeathTest, UnderMlockallAnIdleProgramHoldsWhatItUses) {
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) GTEST_SKIP() << strerror(errno);
  munlockall();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(LockAllMemory(), testing::ExitedWithCode(0), "");
}

TEST_F(MallocDeathTest, AProgramMayForbidTheThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the process begins with this environment
  setenv("PLIMSOLL_DEBUG", "heapthread=off", 1);
  EXPECT_EXIT(CountThreads(false, 0), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(CountThreads(true, 0), testing::ExitedWithCode(0), "");
  unsetenv("PLIMSOLL_DEBUG");
}

TEST_F(MallocDeathTest, WithoutAddressSpaceMallocAnswersNullAndTheProgramGoesOn) {
  EXPECT_EXIT(
      {
        struct rlimit limit = {};
        getrlimit(RLIMIT_AS, &limit);
        limit.rlim_cur = uint64_t{400} << 20;
        setrlimit(RLIMIT_AS, &limit);
        std::vector<void*> held;
        held.reserve(100'000);
        errno = 0;
        for (;;) {
          void* p = malloc(100'000);
          if (p == nullptr) break;
          held.push_back(p);
        }
        const bool told = errno == ENOMEM;
        for (void* p : held) free(p);
        void* again = malloc(100'000);
        _exit(told && held.size() > 1000 && again != nullptr ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

// Runs this program without a test and with `path` for its heap profile; `secure`: by a user who is
// not the one it runs as. Returns its status, or 77 where this process may not change its user.
int ExitOfARunWithAProfile(const std::string& path, bool secure, pid_t* number = nullptr) {
  const std::string variable = "PLIMSOLL_HEAP_PROFILE=" + path;
  const pid_t child = fork();
  if (child == 0) {
    // AT_SECURE is set where the real and the effective user differ, as for a set-user-ID program.
    constexpr uid_t kNobody = 65534;
    if (secure && setresuid(kNobody, 0, 0) != 0) _exit(77);
    execle("/proc/self/exe", "malloc_test", "--gtest_filter=-*", static_cast<char*>(nullptr),
           std::array<const char*, 2>{variable.c_str(), nullptr}.data());
    _exit(1);
  }
  if (number != nullptr) *number = child;
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

TEST_F(MallocTest, EachProcessHasAReportOfItsOwn) {
  const std::string front = testing::TempDir() + "/malloc_test.";
  for (int i = 0; i < 2; ++i) {
    pid_t number = 0;
    EXPECT_EQ(ExitOfARunWithAProfile(front + "%p.%p.%q", false, &number), 0);
    const std::string text = std::to_string(number);
    const std::string path = front + text + "." + text + ".%q";
    EXPECT_EQ(unlink(path.c_str()), 0) << path << ": " << strerror(errno);
  }
}

TEST_F(MallocTest, AReportIsWrittenWhereItsUserMayWriteAndThroughNoLink) {
  const std::string path = testing::TempDir() + "/malloc_test.profile";
  const std::string target = testing::TempDir() + "/malloc_test.target";
  unlink(path.c_str());
  unlink(target.c_str());
  EXPECT_EQ(ExitOfARunWithAProfile(path, false), 0);
  EXPECT_EQ(unlink(path.c_str()), 0) << "no profile was written: " << strerror(errno);
  ASSERT_EQ(symlink(target.c_str(), path.c_str()), 0);
  EXPECT_EQ(ExitOfARunWithAProfile(path, false), 0);
  EXPECT_NE(access(target.c_str(), F_OK), 0);
  unlink(path.c_str());
  const int exit = ExitOfARunWithAProfile(path, true);
  if (exit == 77) GTEST_SKIP() << "only root can run a program as with a set-user-ID bit";
  EXPECT_EQ(exit, 0);
  EXPECT_NE(access(path.c_str(), F_OK), 0) << "a user had a file written with another's rights";
}

// A library's fork handlers that allocate, registered before any constructor of default priority.
std::atomic<bool> fork_handlers_allocate{false};
void* held_over_fork[200];
void BeforeFork() {
  if (!fork_handlers_allocate.load()) return;
  for (size_t i = 0; i < 200; ++i) held_over_fork[i] = malloc(40'000 + i * 8192);
}
void AfterFork() {
  if (!fork_handlers_allocate.load()) return;
  for (void* p : held_over_fork) free(p);
}
__attribute__((constructor(101))) void RegisterForkHandlers() {
  pthread_atfork(&BeforeFork, &AfterFork, &AfterFork);
}

// Fails by never ending: our own handler must have the locks after theirs, and not before.
TEST_F(MallocTest, ForkHandlersOfOthersMayAllocate) {
  fork_handlers_allocate = true;
  const pid_t child = fork();
  if (child == 0) _exit(0);
  fork_handlers_allocate = false;
  int status = 1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// How often preemption was turned off on this thread, and not on again.
thread_local int preemption_off = 0;

TEST_F(MallocTest, PreemptionIsOffRoundAForkAndStaysOffInTheChild) {
  plimsoll::alloc::SetPreemptHooks(
      {.off = [] { ++preemption_off; }, .on = [] { --preemption_off; }});
  const pid_t child = fork();
  const int off = preemption_off;
  if (child == 0) {
    free(malloc(100'000));  // a slow path within, which ends
    _exit(preemption_off == 1 && off == 1 ? 0 : 1);
  }
  plimsoll::alloc::SetPreemptHooks({});
  EXPECT_EQ(off, 0);
  int status = 1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(MallocTest, PreemptionIsOnAgainAfterNewHasThrown) {
  const int before = preemption_off;
  plimsoll::alloc::SetPreemptHooks(
      {.off = [] { ++preemption_off; }, .on = [] { --preemption_off; }});
  EXPECT_THROW((void)operator new(Opaque(SIZE_MAX / 4)), std::bad_alloc);
  EXPECT_THROW((void)operator new[](Opaque(SIZE_MAX / 4)), std::bad_alloc);
  EXPECT_EQ(operator new(Opaque(SIZE_MAX / 4), std::nothrow), nullptr);
  const int after = preemption_off;
  plimsoll::alloc::SetPreemptHooks({});
  EXPECT_EQ(after, before);
}

// The status is 0 when all is well.
[[noreturn]] void RunWithoutVmas() {
  constexpr size_t kPage = 4096;
  std::vector<void*> small;
  for (int i = 0; i < 1000; ++i) small.push_back(malloc(100));
  // Pages of alternating protection are never merged: each is a VMA.
  const size_t pages = 200'000;
  auto* wall = static_cast<char*>(
      mmap(nullptr, pages * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  size_t made = 0;
  while (made < pages && mprotect(wall + made * kPage, kPage, PROT_READ) == 0) made += 2;
  if (made >= pages) _exit(3);  // this kernel's limit was not reached
  std::vector<std::pair<char*, size_t>> held;
  for (int i = 0; i < 3000; ++i) {
    const size_t size = i % 10 == 0 ? size_t{20} << 20 : size_t(i) * 7 % 5000 + 1;
    auto* p = static_cast<char*>(malloc(size));
    if (p == nullptr) {
      if (errno != ENOMEM) _exit(4);
      continue;
    }
    p[0] = p[size - 1] = static_cast<char>(i);
    held.emplace_back(p, size);
  }
  for (void* p : small) free(p);
  for (const auto& [p, size] : held) {
    if (p[0] != p[size - 1]) _exit(5);
    free(p);
  }
  munmap(wall, pages * kPage);
  void* again = malloc(size_t{200} << 20);
  if (again == nullptr) _exit(6);
  free(again);
  _exit(0);
}

// max_map_count is reached: the kernel has no VMA left. What needs none still works, what needs one
// is told no, nothing breaks, and when there are some again all is well.
TEST_F(MallocDeathTest, WithoutVmasMallocAnswersNullAndRecovers) {
  EXPECT_EXIT(RunWithoutVmas(), testing::ExitedWithCode(0), "");
}

TEST_F(MallocDeathTest, ADoubleFreeEndsTheProgramWithOneLine) {
  EXPECT_EXIT(
      {
        void* p = Opaque(malloc(40));
        const auto address = Opaque(reinterpret_cast<uintptr_t>(p));
        free(p);
        free(reinterpret_cast<void*>(address));
      },
      testing::ExitedWithCode(2), "fatal error: free: double free of 0x");
}

// Main frees another thread's object, which waits to be sent; then its owner frees it.
[[noreturn]] void FreeTwiceAndExit() {
  static std::atomic<void*> p{nullptr};
  static std::atomic<int> turn{0};
  std::thread([] {
    p = Opaque(malloc(100));
    turn = 1;
    turn.notify_all();
    turn.wait(1);
    free(p);
    turn = 3;
    turn.notify_all();
    pause();
  }).detach();
  turn.wait(0);
  free(p);
  turn = 2;
  turn.notify_all();
  turn.wait(2);
  exit(0);
}

TEST_F(MallocDeathTest, ADoubleFreeByTwoThreadsIsToldAtExitAtTheLatest) {
  EXPECT_EXIT(FreeTwiceAndExit(), testing::ExitedWithCode(2),
              "fatal error: free: double free of 0x");
}

}  // namespace
}  // namespace plimsoll
