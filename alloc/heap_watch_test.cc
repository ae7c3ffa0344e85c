// What watches the heap: samples and their profile, guarded slots, and the modes of PLIMSOLL_DEBUG.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/heap.h"
#include "plimsoll/alloc/heap_profile.h"
#include "plimsoll/alloc/heap_settings.h"
#include "plimsoll/alloc/samples.h"

namespace plimsoll {
namespace {

using alloc::HeapSettings;

template <typename T>
T Opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

#if defined(__x86_64__)
alloc::StackTrace from_hand_made_stack;
[[gnu::noinline]] void CaptureOnHandMadeStack() { from_hand_made_stack.Capture(); }

// A coroutine's stack with a guard page above it, in one mapping with the thread's own and below
// it; and rbp, in code without frame pointers, happens to point into the guard page.
TEST(StackTraceTest, AFramePointerThatLeadsOffAHandMadeStackIsNotFollowed) {
  constexpr size_t kCoroutine = size_t{64} << 10;
  constexpr size_t kGuard = 4096;
  constexpr size_t kThread = size_t{4} << 20;  // TSan wants most of one
  auto* memory =
      static_cast<char*>(mmap(nullptr, kCoroutine + kGuard + kThread, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  ASSERT_EQ(mprotect(memory + kCoroutine, kGuard, PROT_NONE), 0);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstack(&attributes, memory + kCoroutine + kGuard, kThread), 0);
  auto body = [](void* guard) -> void* {
    void (*call)() = &CaptureOnHandMadeStack;
    asm volatile(
        "mov %%rsp, %%r12\n"
        "mov %%rbp, %%r13\n"
        "mov %1, %%rsp\n"
        "mov %1, %%rbp\n"
        "call *%0\n"
        "mov %%r12, %%rsp\n"
        "mov %%r13, %%rbp\n"
        : "+a"(call)
        : "b"(guard)
        : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
          "memory", "cc");
    return nullptr;
  };
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, &attributes, body, memory + kCoroutine), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
  EXPECT_GE(from_hand_made_stack.depth, 1u);  // CaptureOnHandMadeStack, at least
  munmap(memory, kCoroutine + kGuard + kThread);
}
#endif

TEST(HeapSettingsTest, ReadsItsOwnKeysAndLeavesOthersAlone) {
  const auto kNumber = [](const char* key, const char* value, const char* instead) {
    return std::string(key) + "=\"" + value + "\" is not a number from 0 to 1125899906842623; " +
           instead + " is taken";
  };
  const struct {
    const char* text;
    HeapSettings want;
    std::string errors;
  } kCases[] = {
      {"", {}, ""},
      {"gctrace=1,schedtrace=1000", {}, ""},
      {"heap=junk", {.junk = true}, ""},
      {"gctrace=1,heap=canary+quarantine,x", {.canary = true, .quarantine = true}, ""},
      {"heap=all", {.junk = true, .canary = true, .quarantine = true}, ""},
      {"heapsample=0,heapguard=7", {.sample_period = 0, .guard_every = 7}, ""},
      {"heapthread=off", {.thread = false}, ""},
      {"heapthread=0", {}, "heapthread=\"0\" is not one of on, off; on is taken"},
      {"heapquarantine=4096", {.quarantine_bytes = 4096}, ""},
      {"heap=jnk+canary",
       {.canary = true},
       "heap=\"jnk\" is not junk, canary, quarantine or all; it is left out"},
      {"heapsample=12k", {}, kNumber("heapsample", "12k", "2097152")},
      {"heapguard=", {}, kNumber("heapguard", "", "32")},
      {"heapquarantine=99999999999999999999",
       {},
       kNumber("heapquarantine", "99999999999999999999", "16777216")},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    testing::internal::CaptureStderr();
    const HeapSettings got = alloc::ReadHeapSettings(base::DebugText(c.text));
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              c.errors.empty() ? "" : "plimsoll: PLIMSOLL_DEBUG: " + c.errors + "\n");
    EXPECT_EQ(got.sample_period, c.want.sample_period);
    EXPECT_EQ(got.guard_every, c.want.guard_every);
    EXPECT_EQ(got.junk, c.want.junk);
    EXPECT_EQ(got.canary, c.want.canary);
    EXPECT_EQ(got.quarantine, c.want.quarantine);
    EXPECT_EQ(got.quarantine_bytes, c.want.quarantine_bytes);
    EXPECT_EQ(got.thread, c.want.thread);
  }
}

TEST(SamplesTest, GapsAreExponentialAboutTheirMean) {
  uint64_t random = 20250;
  constexpr int kDraws = 200'000;
  constexpr double kPeriod = 1 << 19;
  double sum = 0;
  int beyond = 0;  // of e^-2 = 13.5 % of an exponential distribution
  for (int i = 0; i < kDraws; ++i) {
    const int64_t gap = alloc::NextSampleGap(random, 1 << 19);
    ASSERT_GE(gap, 0);
    sum += static_cast<double>(gap);
    beyond += gap > 2 * kPeriod;
  }
  EXPECT_NEAR(sum / kDraws / kPeriod, 1, 0.01);
  EXPECT_NEAR(static_cast<double>(beyond) / kDraws, 0.1353, 0.005);
}

TEST(SamplesTest, WeightsAreTheInverseOfTheProbability) {
  const struct {
    uint64_t size;
    double weight;
  } kCases[] = {
      {1, 524288.5}, {16, 32768.5}, {1024, 512.50016}, {524288, 1.5819767}, {1 << 30, 1},
  };
  for (const auto& c : kCases) {
    EXPECT_NEAR(alloc::SampleWeight(c.size, 512 << 10) / c.weight, 1, 1e-6) << c.size;
  }
  EXPECT_EQ(alloc::SampleWeight(100, 0), 1);
}

// ---- in a child, so that settings are its own ----

// Runs this binary's case `name` with PLIMSOLL_DEBUG; its status and what it said.
struct Ran {
  int status;
  std::string said;
};
Ran RunCase(const char* name, const char* debug) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    close(ends[0]);
    setenv("PLIMSOLL_DEBUG", debug, 1);
    setenv("PLIMSOLL_HEAP_CASE", name, 1);
    execl("/proc/self/exe", "heap_watch_test", static_cast<char*>(nullptr));
    _exit(127);
  }
  close(ends[1]);
  Ran ran;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) ran.said.append(buffer, n);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return ran;
}

[[gnu::noinline]] char* MadeHere(size_t size) {
  auto* p = static_cast<char*>(Heap::Allocate(size));
  asm volatile("" : : "r"(p) : "memory");  // no tail call: this frame is to be seen
  return p;
}

// A program's own handlers of SIGSEGV, set before the heap sets one.
void ExitByMask(int, siginfo_t*, void*) {
  sigset_t blocked;
  sigprocmask(SIG_SETMASK, nullptr, &blocked);
  const bool as_asked = sigismember(&blocked, SIGUSR1) == 1 && sigismember(&blocked, SIGSEGV) == 1;
  _exit(as_asked ? 40 : 41);
}
void ExitAtTheSecond(int) {
  static int calls = 0;
  if (++calls == 2) _exit(42);
}
void SetHandler(std::string_view name) {
  struct sigaction action = {};
  if (name == "own-mask") {
    action.sa_sigaction = &ExitByMask;
    action.sa_flags = SA_SIGINFO;
    sigaddset(&action.sa_mask, SIGUSR1);
  } else if (name == "own-once") {
    action.sa_handler = &ExitAtTheSecond;
    action.sa_flags = SA_RESETHAND;
  } else if (name == "own-always") {
    action.sa_handler = &ExitAtTheSecond;
  } else if (name == "sent-ignored") {
    action.sa_handler = SIG_IGN;
  } else {
    return;
  }
  sigaction(SIGSEGV, &action, nullptr);
}

// What each case does; 0 is an end without complaint.
int Case(std::string_view name) {
  SetHandler(name);
  char* p = MadeHere(40);
  if (name == "nothing") {
    std::vector<void*> all;
    for (size_t i = 0; i < 3000; ++i) all.push_back(std::memset(MadeHere(i), 1, i));
    for (void* q : all) Heap::Free(q);
    for (size_t i = 1; i < 100'000; i = i * 3 / 2 + 1) {
      auto* q = static_cast<unsigned char*>(Heap::AllocateZeroed(i));
      for (size_t k = 0; k < i; ++k) {
        if (q[k] != 0) return 1;
      }
      if (Heap::UsableSize(q) < i) return 2;
      q = static_cast<unsigned char*>(std::memset(Heap::Reallocate(q, 2 * i), 7, i));
      Heap::FreeSized(q, 2 * i);
      void* aligned = Heap::AllocateAligned(4096, i);
      if (reinterpret_cast<uintptr_t>(aligned) % 4096 != 0) return 3;
      Heap::FreeAlignedSized(aligned, 4096, i);
    }
  } else if (name == "fresh") {
    if (static_cast<unsigned char>(Opaque(p)[39]) != 0xa5) return 1;
  } else if (name == "overflow") {
    Opaque(p)[40] = 1;
  } else if (name == "overflow-far") {
    std::memset(Opaque(p) + 40, 0, 24);
  } else if (name == "double") {
    Heap::Free(p);
  } else if (name == "resized") {
    p = static_cast<char*>(Heap::Reallocate(p, 45));  // within its class
    Heap::Free(p);
  } else if (name == "sized") {
    Heap::FreeSized(p, 41);
    return 1;
  } else if (name == "write-after-free") {
    Heap::Free(p);
    Opaque(p)[5] = 1;
    for (int i = 0; i < 1000; ++i) Heap::Free(Heap::Allocate(64));
    return 1;
  } else if (name == "guard-overflow") {
    Opaque(p)[48] = 1;  // 40 bytes are rounded up to 48, against the page's end
    return 1;
  } else if (name == "guard-slack") {
    Opaque(p)[44] = 1;
  } else if (name == "guard-underflow") {
    for (int i = 0; i < 2; ++i) (void)MadeHere(40);
    char* q = MadeHere(40);  // the fourth turn is against the start
    Opaque(q)[-1] = 1;
    return 1;
  } else if (name == "guard-use-after-free") {
    Heap::Free(p);
    Opaque(p)[3] = 1;
    return 1;
  } else if (name.starts_with("sent")) {
    kill(getpid(), SIGSEGV);
  } else if (name == "elsewhere" || name.starts_with("own-")) {
    *static_cast<char*>(mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) = 1;
    return 1;
  }
  Heap::Free(p);
  return 0;
}

TEST(HeapDebugTest, EachModeLetsRightUseBe) {
  for (const char* debug :
       {"heap=junk", "heap=canary", "heap=quarantine", "heap=all", "heap=all,heapquarantine=0",
        "heapsample=1,heapguard=1", "heapsample=1,heapguard=0", "heapsample=0", "heapsample=4096",
        "heap=all,heapsample=1,heapguard=2"}) {
    const Ran ran = RunCase("nothing", debug);
    EXPECT_EQ(ran.status, 0) << debug << ": " << ran.said;
    EXPECT_EQ(ran.said, "") << debug;
  }
}

TEST(HeapDebugTest, MistakesAreFoundByTheModeThatLooksForThem) {
  const struct {
    const char* name;
    const char* debug;
    const char* text;
  } kCases[] = {
      {"overflow", "heap=canary", "a byte was written 0 past the end of an object of 40 bytes"},
      {"overflow-far", "heap=canary", "overflow: what lies behind the object was written over"},
      {"double", "heap=quarantine", "double free of 0x"},
      {"sized", "heap=canary", "told 41, it has 40"},
      {"write-after-free", "heap=quarantine,heapquarantine=1024",
       "an object of 40 bytes, was written to after it was freed, 5 bytes from its start"},
      {"double", "heapsample=1,heapguard=0", "double free of 0x"},
      {"double", "heapsample=1,heapguard=0", "and freed at"},
      {"resized", "heapsample=1,heapguard=0", ", 45 bytes, was allocated at"},
      {"double", "heapsample=1,heapguard=1", "a guarded object of 40 bytes"},
      {"guard-overflow", "heapsample=1,heapguard=1", "is 8 bytes past the end of an object"},
      {"guard-slack", "heapsample=1,heapguard=1", "a byte was written 4 past its end"},
      {"guard-underflow", "heapsample=1,heapguard=1", "is 1 bytes before the start of an object"},
      {"guard-use-after-free", "heapsample=1,heapguard=1", "use after free: 0x"},
      {"guard-use-after-free", "heapsample=1,heapguard=1", "and freed at"},
      {"guard-use-after-free", "heapsample=1,heapguard=1", "heap_watch_test+0x"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(std::string(c.name) + " " + c.debug);
    // ASan finds accesses itself, and first.
    if (base::kAsan && std::string_view(c.name) != "double" &&
        std::string_view(c.name) != "sized") {
      continue;
    }
    const Ran ran = RunCase(c.name, c.debug);
    EXPECT_EQ(ran.status, 2) << ran.said;
    EXPECT_NE(ran.said.find(c.text), std::string::npos) << ran.said;
  }
  EXPECT_EQ(RunCase("fresh", "heap=junk").status, 0);
}

TEST(GuardedTest, AFaultElsewhereHasItsDefaultEffect) {
  if (base::kAsan || base::kTsan) GTEST_SKIP() << "the sanitizer's handler is behind ours";
  const Ran ran = RunCase("elsewhere", "heapsample=1,heapguard=1");
  EXPECT_EQ(ran.status, -SIGSEGV) << ran.said;
}

TEST(GuardedTest, ASignalHasTheEffectThatItWouldHaveHadWithoutUs) {
  if (base::kAsan || base::kTsan) GTEST_SKIP() << "the sanitizer's handler is behind ours";
  const struct {
    const char* name;
    int status;
  } kCases[] = {
      {"sent", -SIGSEGV},  // kill(): it does not come again by itself, as a fault does
      {"sent-ignored", 0},
      {"own-mask", 40},        // the handler runs with its mask, and its signal blocked
      {"own-once", -SIGSEGV},  // SA_RESETHAND: it returns, and the same fault comes again
      {"own-always", 42},
  };
  for (const auto& c : kCases) {
    for (const char* debug : {"heapsample=1,heapguard=1", "heapsample=0"}) {
      const Ran ran = RunCase(c.name, debug);
      EXPECT_EQ(ran.status, c.status) << c.name << " " << debug << ": " << ran.said;
    }
  }
}

// ---- the profile ----

std::string Profile() {
  std::string bytes;
  EXPECT_TRUE(Heap::WriteProfile(
      [](std::string_view piece, void* to) { static_cast<std::string*>(to)->append(piece); },
      &bytes));
  return bytes;
}

[[gnu::noinline]] void* ProfiledSmall() { return MadeHere(96); }
[[gnu::noinline]] void* ProfiledLarge() { return MadeHere(200'000); }

TEST(HeapProfileTest, GoToolPprofReadsItAndItsSumsAreRight) {
  if (base::kAsan || base::kTsan) GTEST_SKIP() << "the sanitizer's frames are in between";
  if (system("go version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no go on this machine";
  Heap::SetSamplePeriod(KiB(16));
  std::vector<void*> all;
  for (int i = 0; i < 100'000; ++i) all.push_back(ProfiledSmall());  // 9.16 MiB
  for (int i = 0; i < 50; ++i) all.push_back(ProfiledLarge());       // 9.54 MiB
  const std::string bytes = Profile();
  const std::string path = std::string(getenv("TEST_TMPDIR") ? getenv("TEST_TMPDIR") : "/tmp") +
                           "/heap_watch_test.pb.gz";
  FILE* f = fopen(path.c_str(), "w");
  ASSERT_NE(f, nullptr);
  ASSERT_EQ(fwrite(bytes.data(), 1, bytes.size(), f), bytes.size());
  fclose(f);
  setenv("PPROF_TMPDIR", getenv("TEST_TMPDIR") ? getenv("TEST_TMPDIR") : "/tmp", 1);
  setenv("HOME", getenv("TEST_TMPDIR") ? getenv("TEST_TMPDIR") : "/tmp", 0);
  const std::string command =
      "gzip -t " + path + " && go tool pprof -top -cum -unit=kb " + path + " 2>&1";
  FILE* pprof = popen(command.c_str(), "r");
  ASSERT_NE(pprof, nullptr);
  std::string said;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pprof)) > 0;) said.append(buffer, n);
  EXPECT_EQ(pclose(pprof), 0) << said;
  // The cumulative column: "flat flat% sum% cum cum% name".
  const auto kib_of = [&said](const char* name) {
    const size_t at = said.find(name);
    if (at == std::string::npos) return 0.0;
    const size_t line = said.rfind('\n', at) + 1;
    double flat, cum;
    char text[5][32];
    if (sscanf(said.c_str() + line, "%31s %31s %31s %31s", text[0], text[1], text[2], text[3]) != 4)
      return 0.0;
    flat = atof(text[0]);
    cum = atof(text[3]);
    (void)flat;
    return cum;
  };
  // 560 samples of one, some 50 of the other: within a quarter with a chance of one in 10^9.
  EXPECT_NEAR(kib_of("ProfiledSmall"), 9375, 9375 / 4.0) << said;
  EXPECT_NEAR(kib_of("ProfiledLarge"), 9766, 9766 / 4.0) << said;
  for (void* p : all) Heap::Free(p);
  // What was freed is not live.
  EXPECT_LT(Profile().size(), bytes.size() / 2);
  Heap::SetSamplePeriod(MiB(2));
}

TEST(HeapProfileTest, APeriodOfZeroTakesNoSamples) {
  Heap::SetSamplePeriod(ByteCount(0));
  const size_t before = Profile().size();
  std::vector<void*> all;
  for (int i = 0; i < 100; ++i) all.push_back(MadeHere(1 << 20));
  for (int i = 0; i < 10'000; ++i) all.push_back(MadeHere(1 << 10));
  EXPECT_EQ(Profile().size(), before);
  for (void* p : all) Heap::Free(p);
  Heap::SetSamplePeriod(MiB(2));
}

}  // namespace
}  // namespace plimsoll

int main(int argc, char** argv) {
  if (const char* name = getenv("PLIMSOLL_HEAP_CASE")) return plimsoll::Case(name);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
