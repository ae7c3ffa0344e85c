// Explore runs a small concurrent program under every schedule that matters, and under every value
// that the C++ memory model lets a load return; it stops at the first run that fails.
//
//   Result r = Explore({}, [] {
//     auto* flag = New<atomic<int>>("flag", 0);
//     auto* data = New<Var<int>>("data", 0);
//     Thread("writer", [=] { data->Set(1); flag->store(1, std::memory_order_release); });
//     Thread("reader", [=] { if (flag->load(std::memory_order_acquire)) Check(data->Get() == 1);
//     }); AtEnd([=] { Check(flag->load() == 1); });
//   });
//   EXPECT_FALSE(r.failed) << r.trace;
//
// Threads:   fibers of one thread of the test's. Every operation on an atomic, a Lock or a Choose
//            is a step; between steps a thread's code runs alone. Up to kMaxThreads.
// Memory:    views (explore.cc). A load returns any store that its thread's view does not rule out,
//            so that a missing release, acquire or fence shows. Plain data is a Var: an access that
//            does not happen after the one before it is a data race, and fails.
// Search:    kWhole: dynamic partial-order reduction with sleep sets: every outcome, without going
//            through every order of steps that do not touch each other. kBounded: every schedule
//            with so many preemptions, unreduced. kRandom: by a seed, `executions` of them.
// Failure:   Check, a race, a thread that can never go on, an atomic used after its end. The trace
//            names the steps with file and line; `schedule` replays it (Replay).
// Limits:    no load returns a store that is yet to come (no load buffering); a store is put last
//            in its atomic's modification order; a CAS fails only for its value. What is left is
//            the view fragment of "A Promising Semantics for Relaxed-Memory Concurrency" (Kang et
//            al., 2017), without promises; x86-TSO and more.
//
// The reduction is that of "Optimal Dynamic Partial Order Reduction" (Abdulla et al., 2014), with
// source sets; the idea of running the product's own code so is relacy's (Dmitry Vyukov)
// and CDSChecker's (Norris and Demsky, 2013).
#ifndef PLIMSOLL_TESTS_MODEL_EXPLORE_H_
#define PLIMSOLL_TESTS_MODEL_EXPLORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::model {

inline constexpr int kMaxThreads = 12;

enum class Search { kWhole, kBounded, kRandom };
enum class Memory { kViews, kSequential };  // kSequential: a load returns the last store

struct Options {
  Search search = Search::kWhole;
  Memory memory = Memory::kViews;
  int preemptions = 2;                // kBounded
  uint64_t executions = 100'000'000;  // kRandom: how many; else where to give up
  uint64_t seed = 1;                  // kRandom
  int max_steps = 4000;               // of one execution: past it, it counts as `cut`
};

// One step of a schedule: which thread went, and what it drew.
struct Step {
  uint8_t thread;
  uint8_t choice;
};
using Schedule = std::vector<Step>;

struct Result {
  bool failed = false;
  bool complete = false;    // the search ended because there was nothing left
  uint64_t executions = 0;  // run to their end, the failing one included
  uint64_t redundant = 0;   // given up: what they would have shown was seen (sleep sets)
  uint64_t cut = 0;         // longer than max_steps
  uint64_t steps = 0;
  int longest = 0;  // steps of the longest execution
  double seconds = 0;
  std::string failure;  // what failed
  std::string trace;    // the failing execution, a line a step, and how to replay it
  Schedule schedule;
};

using Program = std::function<void()>;

// Calls `program` at the start of each execution: it makes the objects and the threads.
Result Explore(const Options& options, const Program& program);
// Runs one schedule again, with a trace whether it fails or not.
Result Replay(const Options& options, const Schedule& schedule, const Program& program);
// "1.0 0.2 …", as traces print it.
std::string ToText(const Schedule& schedule);
Schedule ScheduleFromText(const std::string& text);

// --- In a program's setup.

// A thread that must come to its end.
void Thread(const char* name, std::function<void()> body);
// One that may stay where it is when nobody else can go on.
void Daemon(const char* name, std::function<void()> body);
// Runs after the threads, alone, seeing everything.
void AtEnd(std::function<void()> check);
// An object that lives until the end of the execution; its name is for traces.
void* Allocate(size_t bytes, size_t align, const char* name);
template <typename T, typename... Args>
T* New(const char* name, Args&&... args) {
  return ::new (Allocate(sizeof(T), alignof(T), name)) T(std::forward<Args>(args)...);
}

// --- In a thread.

[[noreturn]] void Fail(const std::string& what,
                       std::source_location where = std::source_location::current());
inline void Check(bool fact, const char* what = "",
                  std::source_location where = std::source_location::current()) {
  if (!fact) [[unlikely]]
    Fail(std::string("check failed: ") + what, where);
}
// Each of 0 … n - 1 in some execution.
int Choose(int n, std::source_location where = std::source_location::current());
// A line in the trace.
void Note(const std::string& text);
// Which thread runs, in order of creation from 0; -1 in setup and at the end.
int ThreadIndex();
// True when a fault of this name is planted (PlantFault); the product's code asks it where
// modelled.bzl put the question.
bool Planted(const char* fault);
// The one fault of the explorations to come; "" for none.
void PlantFault(const char* fault);

}  // namespace plimsoll::model

#endif  // PLIMSOLL_TESTS_MODEL_EXPLORE_H_
