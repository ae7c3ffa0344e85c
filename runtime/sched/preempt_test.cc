// Preemption in place, against code that was not written for it.

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/procs.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stop_world.h"
#include "plimsoll/runtime/sched/trace.h"
#include "plimsoll/runtime/sched/trace_buffer.h"

extern char** environ;

namespace plimsoll::sched {
namespace {

// Set before the scheduler starts, so that its handler finds it there.
std::atomic<int> users_signals{0};
const bool users_handler = [] {
  struct sigaction action{};
  action.sa_handler = [](int) { users_signals.fetch_add(1); };
  action.sa_flags = SA_RESTART;
  return sigaction(SIGURG, &action, nullptr) == 0;
}();

int64_t TestSeconds() {
  const char* text = getenv("PLIMSOLL_TEST_SECONDS");
  return text != nullptr ? atoi(text) : 0;
}

// PLIMSOLL_TEST_PIDS_MAX: the pids.max of the cgroup this process is in
// (//tests/container:pids_max_test), to be set once every goroutine has its thread, so that one
// more thread can be made and no other.
const char* const pids_max_file = getenv("PLIMSOLL_TEST_PIDS_MAX");

// Threads of this process.
int Threads() {
  int n = 0;
  DIR* tasks = opendir("/proc/self/task");
  for (const dirent* d; (d = readdir(tasks)) != nullptr;) n += d->d_name[0] != '.';
  closedir(tasks);
  return n;
}

// The limit that was set, of as many threads as there are and one more; 0 where nobody asked for
// one.
int LimitThreads() {
  if (pids_max_file == nullptr) return 0;
  FILE* f = fopen(pids_max_file, "w");
  EXPECT_NE(f, nullptr) << pids_max_file << ": " << strerror(errno);
  if (f == nullptr) return 0;
  const int limit = Threads() + 1;
  fprintf(f, "%d", limit);
  EXPECT_EQ(fclose(f), 0) << pids_max_file << ": " << strerror(errno);
  return limit;
}

int64_t ThreadCpuNanos() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

// How long single steps took, by powers of two with eight parts each.
struct Histogram {
  uint64_t counts[64 * 8] = {};
  uint64_t total = 0;

  void Add(int64_t ns) {
    const auto v = static_cast<uint64_t>(ns < 8 ? 8 : ns);
    const int top = std::bit_width(v) - 1;
    ++counts[top * 8 + static_cast<int>((v >> (top - 3)) & 7)];
    ++total;
  }
  void Add(const Histogram& other) {
    for (size_t i = 0; i < std::size(counts); ++i) counts[i] += other.counts[i];
    total += other.total;
  }
  double Percentile(double part) const {
    uint64_t left = static_cast<uint64_t>(static_cast<double>(total) * part);
    for (size_t i = 0; i < std::size(counts); ++i) {
      if (counts[i] > left) return static_cast<double>((8 + i % 8) << (i / 8)) / 8.0;
      left -= counts[i];
    }
    return 0;
  }
};

// One goroutine's view of itself.
struct Worker {
  int id = 0;
  const std::atomic<bool>* stop = nullptr;
  std::atomic<uint64_t> steps{0};
  std::atomic<uint64_t> wrong{0};
  int64_t cpu_ns = 0;
  int64_t longest_gap_ns = 0;
  Histogram latency;
  int64_t last_ns = 0;

  bool Go() const { return !stop->load(std::memory_order_relaxed); }
  void Step() {
    const int64_t now = NowNanos();
    if (last_ns != 0) longest_gap_ns = std::max(longest_gap_ns, now - last_ns);
    last_ns = now;
    steps.fetch_add(1, std::memory_order_relaxed);
  }
};

std::mutex the_mutex;
uint64_t guarded_by_the_mutex = 0;

void Loop(Worker& w) {
  while (w.Go()) {
    for (int i = 0; i < 10'000; ++i) asm volatile("");
    w.Step();
  }
}

void Malloc(Worker& w) {
  while (w.Go()) {
    std::vector<std::string> v;
    for (int i = 0; i < 50; ++i) {
      const int64_t before = NowNanos();
      v.push_back(
          std::string(30 + static_cast<size_t>(i * 7) % 900, static_cast<char>('a' + w.id)));
      w.latency.Add(NowNanos() - before);
    }
    for (const std::string& s : v) {
      if (s.back() != static_cast<char>('a' + w.id)) w.wrong.fetch_add(1);
    }
    w.Step();
  }
}

void StdMutex(Worker& w) {
  while (w.Go()) {
    std::lock_guard<std::mutex> hold(the_mutex);
    const uint64_t before = guarded_by_the_mutex;
    for (int i = 0; i < 200; ++i) asm volatile("");
    if (guarded_by_the_mutex != before) w.wrong.fetch_add(1);
    guarded_by_the_mutex = before + 1;
    w.Step();
  }
}

void Throw(Worker& w) {
  const std::string mine = "mine " + std::to_string(w.id);
  while (w.Go()) {
    try {
      throw std::runtime_error(mine);
    } catch (const std::exception& e) {
      if (mine != e.what()) w.wrong.fetch_add(1);
    }
    w.Step();
  }
}

void Stdio(Worker& w) {
  static FILE* null = fopen("/dev/null", "w");
  while (w.Go()) {
    char text[64];
    const double value = 3.25 * w.id;
    snprintf(text, sizeof(text), "%d %.2f", w.id, value);
    if (atof(strchr(text, ' ')) != value) w.wrong.fetch_add(1);
    fputs(text, null);
    w.Step();
  }
}

void Dlopen(Worker& w) {
  while (w.Go()) {
    void* library = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) {
      if (dlsym(library, "cos") == nullptr) w.wrong.fetch_add(1);
      dlclose(library);
    }
    w.Step();
  }
}

void Spawn(Worker& w) {
  while (w.Go()) {
    char name[] = "true";
    char* argv[] = {name, nullptr};
    pid_t child = 0;
    const int error = posix_spawn(&child, "/bin/true", nullptr, nullptr, argv, environ);
    if (error == EAGAIN && pids_max_file != nullptr) {  // another one's child takes the last place
      w.Step();
      continue;
    }
    if (error != 0) {
      w.wrong.fetch_add(1);
      return;
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (status != 0) w.wrong.fetch_add(1);
    w.Step();
  }
}

void ReadFile(Worker& w) {
  while (w.Go()) {
    const int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    char text[4096];
    ssize_t n = 0, all = 0;
    while ((n = read(fd, text, sizeof(text))) > 0) all += n;
    if (all == 0) w.wrong.fetch_add(1);
    close(fd);
    w.Step();
  }
}

// A handler of the user's that computes, on a stack of the user's.
void AltStackOfItsOwn(Worker& w) {
  struct sigaction action{};
  action.sa_handler = [](int) {
    for (int i = 0; i < 20'000; ++i) asm volatile("");
  };
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR1, &action, nullptr);
  constexpr size_t kBytes = 256 << 10;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stack_t mine{}, before{};
  mine.ss_sp = memory;
  mine.ss_size = kBytes;
  // The thread's: this goroutine never parks, and so never leaves it.
  if (sigaltstack(&mine, &before) != 0) w.wrong.fetch_add(1);
  while (w.Go()) {
    syscall(SYS_tgkill, getpid(), static_cast<pid_t>(syscall(SYS_gettid)), SIGUSR1);
    w.Step();
  }
  sigaltstack(&before, nullptr);
  munmap(memory, kBytes);
}

// As Boost.Context or Lua do: coroutines on stacks that the scheduler knows nothing of.
struct Coroutine {
  ucontext_t outside, inside;
  Worker* worker;
};
thread_local Coroutine* entered = nullptr;

void CoroutineMain() {
  Coroutine* c = entered;
  while (c->worker->Go()) {
    std::string text(100, static_cast<char>('a' + c->worker->id));
    try {
      throw text;
    } catch (const std::string& got) {
      if (got != text) c->worker->wrong.fetch_add(1);
    }
    swapcontext(&c->inside, &c->outside);
  }
}

void StackOfItsOwn(Worker& w) {
  constexpr size_t kBytes = 128 << 10;
  auto stack = std::make_unique<char[]>(kBytes);
  Coroutine c{};
  c.worker = &w;
  getcontext(&c.inside);
  c.inside.uc_stack.ss_sp = stack.get();
  c.inside.uc_stack.ss_size = kBytes;
  c.inside.uc_link = &c.outside;
  makecontext(&c.inside, CoroutineMain, 0);
  entered = &c;
  while (w.Go()) {
    swapcontext(&c.outside, &c.inside);
    w.Step();
  }
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLIMSOLL_TEST_ASAN  // clang has no macro of its own for it
#endif
#if __has_feature(thread_sanitizer)
#define PLIMSOLL_TEST_TSAN
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(PLIMSOLL_TEST_TSAN)
constexpr bool kTsan = true;
#else
constexpr bool kTsan = false;
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(PLIMSOLL_TEST_ASAN)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = kTsan;
#endif

struct Kind {
  const char* name;
  void (*run)(Worker&);
  const char* skip;  // why it is not for this build, else null
};
constexpr const char* kStack = kSanitized ? "a stack that the sanitizer was not told of" : nullptr;
// TSan's dlopen holds a lock of TSan's while the loader's text runs. Who is stopped there keeps it,
// and who sleeps for it is within TSan, where nobody is stopped.
constexpr const char* kLoader = kTsan ? "TSan holds a lock of its own across the loader" : nullptr;
const Kind kKinds[] = {
    {"Loop", Loop, nullptr},
    {"Malloc", Malloc, nullptr},
    {"StdMutex", StdMutex, nullptr},
    {"Throw", Throw, nullptr},
    {"Stdio", Stdio, nullptr},
    {"Dlopen", Dlopen, kLoader},
    {"Spawn", Spawn, nullptr},
    {"ReadFile", ReadFile, nullptr},
    {"AltStackOfItsOwn", AltStackOfItsOwn, kStack},
    {"StackOfItsOwn", StackOfItsOwn, kStack},
};

class HostileTest : public testing::TestWithParam<std::tuple<int, int>> {
 protected:
  ~HostileTest() override { SetProcs({.procs = 2}); }
};

TEST_P(HostileTest, IsPreemptedAndUnharmed) {
  const Kind& kind = kKinds[std::get<0>(GetParam())];
  const int procs = std::get<1>(GetParam());
  if (kind.skip != nullptr) GTEST_SKIP() << kind.skip;
  const int64_t seconds = TestSeconds();
  const size_t n = seconds > 0 ? 8 : 4;
  SetProcs({.procs = procs});
  // PLIMSOLL_TEST_PICTURE=FILE: what the scheduler did, for ui.perfetto.dev.
  const char* picture = getenv("PLIMSOLL_TEST_PICTURE");
  TraceBuffer trace(picture != nullptr ? 1 << 20 : 0);
  if (picture != nullptr) {
    ASSERT_TRUE(StartTracing(trace));
  }
  const Stats before = GetStats();
  std::atomic<bool> stop{false};
  std::atomic<size_t> left{n};
  std::vector<std::unique_ptr<Worker>> workers;
  const int64_t began = NowNanos();
  for (size_t i = 0; i < n; ++i) {
    workers.push_back(std::make_unique<Worker>());
    Worker& w = *workers.back();
    w.id = static_cast<int>(i);
    w.stop = &stop;
    Go([&w, &kind, &left] {
      const int64_t cpu = ThreadCpuNanos();
      kind.run(w);
      w.cpu_ns = ThreadCpuNanos() - cpu;
      left.fetch_sub(1);
    });
  }
  // Main is one more that must get its turn, among more hogs than there are Ps. In a long run it
  // sleeps, so that the hogs share what there is.
  const int64_t end = began + seconds * 1'000'000'000;
  int64_t longest_main_ns = 0;
  int limit = 0;
  uint64_t preemptions_before_limit = before.preemptions;
  for (bool all_ran = false;;) {
    const int64_t now = NowNanos();
    if (!all_ran) {
      all_ran = true;
      for (auto& w : workers) all_ran = all_ran && w->steps.load() > 0;
      if (all_ran) {
        limit = LimitThreads();
        preemptions_before_limit = GetStats().preemptions;
      }
    }
    if (seconds > 0) {
      if (now >= end) break;
      const int64_t wake = std::min(now + 50'000'000, end);
      WakeClaim claim;
      ParkUntil(WaitReason::kSleep, wake, claim, nullptr, nullptr);
      longest_main_ns = std::max(longest_main_ns, NowNanos() - wake);
    } else {
      Yield();
      const uint64_t from = limit != 0 ? preemptions_before_limit : before.preemptions;
      if (all_ran && GetStats().preemptions >= from + 12) break;
    }
  }
  stop.store(true);
  while (left.load() > 0) Yield();
  const int64_t took = NowNanos() - began;
  const Stats after = GetStats();
  if (picture != nullptr) {
    StopTracing();
    if (FILE* f = fopen(picture, "w"); f != nullptr) {
      fputs(TracePicture(trace.events()).c_str(), f);
      fclose(f);
    }
  }
  uint64_t steps = 0;
  int64_t gap = 0, least = INT64_MAX, most = 0, cpu = 0;
  Histogram latency;
  for (auto& w : workers) {
    EXPECT_EQ(w->wrong.load(), 0u) << kind.name << " " << w->id;
    steps += w->steps.load();
    gap = std::max(gap, w->longest_gap_ns);
    least = std::min(least, w->cpu_ns);
    most = std::max(most, w->cpu_ns);
    cpu += w->cpu_ns;
    latency.Add(w->latency);
  }
  EXPECT_GT(after.preemptions, before.preemptions);
  if (limit != 0) {
    EXPECT_LE(Threads(), limit);
    printf("%-16s P=%d pids.max %d: %lu preemptions under it, %lu without a thread\n", kind.name,
           procs, limit, after.preemptions - preemptions_before_limit,
           after.preempt_no_thread - before.preempt_no_thread);
  }
  if (seconds == 0) return;
  const double mean = static_cast<double>(cpu) / static_cast<double>(n);
  printf(
      "%-16s P=%d %ld s: %lu preemptions (%lu asleep), %lu signals (%lu deferred), %lu without a "
      "thread; used %.0f %% of P; CPU "
      "shares %.2f to %.2f of fair; longest wait of a ready goroutine %.1f ms (main: %.1f ms); %lu "
      "steps",
      kind.name, procs, static_cast<long>(took / 1'000'000'000),
      after.preemptions - before.preemptions, after.preempt_asleep - before.preempt_asleep,
      after.preempt_signals - before.preempt_signals,
      after.preempt_deferred - before.preempt_deferred,
      after.preempt_no_thread - before.preempt_no_thread,
      100.0 * static_cast<double>(cpu) / static_cast<double>(took) / procs,
      static_cast<double>(least) / mean, static_cast<double>(most) / mean,
      static_cast<double>(gap) / 1e6, static_cast<double>(longest_main_ns) / 1e6, steps);
  if (latency.total > 0) {
    printf("; malloc p50 %.0f ns, p99.9 %.0f ns", latency.Percentile(0.5),
           latency.Percentile(0.999));
  }
  printf("\n");
  // With two, the kernel's sharing of CPUs with others is in it.
  if (procs == 1) {
    EXPECT_GE(static_cast<double>(least), mean * 0.8) << kind.name;
    EXPECT_LE(static_cast<double>(most), mean * 1.2) << kind.name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, HostileTest,
                         testing::Combine(testing::Range(0, static_cast<int>(std::size(kKinds))),
                                          testing::Values(1, 2)),
                         [](const testing::TestParamInfo<std::tuple<int, int>>& info) {
                           return std::string(kKinds[std::get<0>(info.param)].name) + "_P" +
                                  std::to_string(std::get<1>(info.param));
                         });

class PreemptTest : public testing::Test {
 protected:
  ~PreemptTest() override { SetProcs({.procs = 2}); }
};

TEST_F(PreemptTest, OneThatSleepsForAStoppedHoldersLockGivesItsPBack) {
  SetProcs({.procs = 1});
  const uint64_t before = GetStats().preempt_asleep;
  // Once is enough, but the second one may be stopped on its way into the futex, and then finds the
  // mutex free.
  do {
    std::mutex mu;
    std::atomic<bool> wants{false};
    std::atomic<int> ended{0};
    Go([&] {
      {
        std::lock_guard<std::mutex> hold(mu);
        // Stopped in place here: the only P is wanted by the other.
        while (!wants.load(std::memory_order_relaxed)) {
        }
      }
      ended.fetch_add(1);
    });
    Go([&] {
      while (mu.try_lock()) {  // until the first one has it
        mu.unlock();
        Yield();
      }
      wants.store(true);
      mu.lock();  // sleeps with the P in its hand
      mu.unlock();
      ended.fetch_add(1);
    });
    while (ended.load() < 2) Yield();
  } while (GetStats().preempt_asleep == before);
}

TEST_F(PreemptTest, OneThatSleepsForAForeignThreadsLockIsNotForgotten) {
  // Nobody of ours holds it, so nobody of ours hears of its release: the one that sleeps must be in
  // the kernel's queue again when all others have come to their end.
  SetProcs({.procs = 1});
  struct Foreign {
    std::mutex mu;
    std::atomic<bool> holds{false}, release{false};
  } foreign;
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, nullptr,
                [](void* arg) -> void* {
                  auto* f = static_cast<Foreign*>(arg);
                  std::lock_guard<std::mutex> hold(f->mu);
                  f->holds.store(true);
                  while (!f->release.load()) sched_yield();
                  return nullptr;
                },
                &foreign),
            0);
  while (!foreign.holds.load()) Yield();
  const Stats before = GetStats();
  std::atomic<int> ended{0};
  for (int i = 0; i < 3; ++i) {
    Go([&] {
      std::lock_guard<std::mutex> hold(foreign.mu);
      ended.fetch_add(1);
    });
  }
  while (GetStats().preempt_asleep < before.preempt_asleep + 6) Yield();
  EXPECT_EQ(ended.load(), 0);
  foreign.release.store(true);
  // Leaves the P to them alone.
  BlockingCall([&] { pthread_join(thread, nullptr); });
  while (ended.load() < 3) Yield();
}

TEST_F(PreemptTest, OneThatSpawnsGoesBehindWhatItSpawned) {
  SetProcs({.procs = 1});
  // The last of them may be in the ring when the turn comes: half a ring is taken at once.
  constexpr int kMany = 2000, kMayBeLeft = 256;
  int left = kMany;
  // Again, where the slice ended too early, or one of the others was stopped and no thread was
  // there: then the P comes back before the turn.
  for (int attempt = 0; attempt < 100 && left > kMayBeLeft; ++attempt) {
    std::atomic<int> ran{0};
    int made = 0;
    for (; made < kMany && ran.load() == 0; ++made) Go([&ran] { ran.fetch_add(1); });
    int ran_before;
    while ((ran_before = ran.load()) == 0) {
    }
    if (made >= kMany / 2) left = made - ran_before;
    while (ran.load() < made) Yield();
  }
  EXPECT_LE(left, kMayBeLeft);
}

TEST_F(PreemptTest, AnUndeclaredReadGivesItsPAway) {
  // Only the reader's own P is there for the one that writes.
  SetProcs({.procs = 1});
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  std::atomic<bool> reading{false};
  Go([&] {
    reading.store(true);
    while (!reading.load()) {
    }
    EXPECT_EQ(write(fds[1], "x", 1), 1);
  });
  char c = 0;
  ssize_t n = read(fds[0], &c, 1);
  EXPECT_EQ(n, 1);
  EXPECT_EQ(c, 'x');
  close(fds[0]);
  close(fds[1]);
}

TEST_F(PreemptTest, AnUndeclaredSleepGivesItsPAwayAndMayEndEarly) {
  SetProcs({.procs = 1});
  std::atomic<bool> ran{false};
  Go([&] { ran.store(true); });
  // By the second the other one has run: EINTR ends usleep, as README tells.
  while (!ran.load()) {
    if (usleep(1'000'000) != 0) {
      EXPECT_EQ(errno, EINTR);
    }
  }
}

TEST_F(PreemptTest, TheWorldStopsThoughALoopMakesNoCall) {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> id{0}, result{0};
  Go([&] {
    id.store(GoroutineId(CurrentG()));
    // Kept in a register, and nowhere else.
    uint64_t secret = 0x5ec2e7'0000'0000 + id.load();
    while (!stop.load(std::memory_order_relaxed)) asm volatile("" : "+r"(secret));
    result.store(secret);
  });
  while (id.load() == 0) Yield();
  struct Seen {
    uint64_t id, secret;
    bool in_handler = false, holds = false;
  } seen{id.load(), 0x5ec2e7'0000'0000 + id.load()};
  StopTheWorld();
  ForEachG(
      [](const GView& g, void* arg) {
        auto* s = static_cast<Seen*>(arg);
        if (g.id() != s->id || g.ucontext == nullptr) return;
        s->in_handler = true;
        const auto* words = static_cast<const uint64_t*>(g.ucontext);
        for (size_t i = 0; i < sizeof(ucontext_t) / 8; ++i) s->holds |= words[i] == s->secret;
        // Without optimisation the register is of the moment, and the value in the frame.
        for (uintptr_t at = g.sp; !kSanitized && at < g.sp + 512; at += 8) {
          uint64_t word;
          memcpy(&word, reinterpret_cast<const void*>(at), 8);
          s->holds |= word == s->secret;
        }
      },
      &seen);
  StartTheWorld();
  stop.store(true);
  while (result.load() == 0) Yield();
  EXPECT_TRUE(seen.in_handler);
  EXPECT_TRUE(seen.holds || kSanitized);
  EXPECT_EQ(result.load(), seen.secret);
}

TEST_F(PreemptTest, OneThatStopsTheWorldAgainAndAgainHasASliceToo) {
  SetProcs({.procs = 1});
  std::atomic<bool> stop{false};
  std::atomic<bool> done{false};
  Go([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      StopTheWorld();
      for (const int64_t end = NowNanos() + 500'000; NowNanos() < end;) {
      }
      StartTheWorld();
    }
    done.store(true);
  });
  for (int i = 0; i < 5; ++i) {
    WakeClaim claim;
    ParkUntil(WaitReason::kSleep, NowNanos() + 1'000'000, claim, nullptr, nullptr);
  }
  stop.store(true);
  while (!done.load()) Yield();
}

TEST_F(PreemptTest, TheUsersActionForTheSignalIsStillCalled) {
  ASSERT_TRUE(users_handler);
  const int before = users_signals.load();
  raise(SIGURG);
  EXPECT_EQ(users_signals.load(), before + 1);
}

TEST_F(PreemptTest, TheSignalMeansNothingToAForeignThread) {
  struct Foreign {
    std::atomic<bool> ready{false}, stop{false};
  } foreign;
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, nullptr,
                [](void* arg) -> void* {
                  auto* f = static_cast<Foreign*>(arg);
                  f->ready.store(true);
                  while (!f->stop.load()) {
                  }
                  return nullptr;
                },
                &foreign),
            0);
  while (!foreign.ready.load()) Yield();
  for (int i = 0; i < 100; ++i) pthread_kill(thread, SIGURG);
  foreign.stop.store(true);
  BlockingCall([&] { pthread_join(thread, nullptr); });
}

TEST_F(PreemptTest, AForkedChildIsLeftAlone) {
  SetProcs({.procs = 1});
  std::atomic<bool> stop{false}, ended{false};
  Go([&] {
    while (!stop.load(std::memory_order_relaxed)) {
    }
    ended.store(true);
  });
  Yield();
  const pid_t child = fork();
  if (child == 0) {
    const int64_t end = ThreadCpuNanos() + 30'000'000;
    while (ThreadCpuNanos() < end) {
    }
    _exit(7);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  EXPECT_EQ(WEXITSTATUS(status), 7);
  stop.store(true);
  while (!ended.load()) Yield();
}

}  // namespace
}  // namespace plimsoll::sched
