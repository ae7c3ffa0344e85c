#include "plimsoll/tests/model/explore.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "plimsoll/runtime/stack/switch.h"
#include "plimsoll/tests/model/atomic.h"

// How memory is modelled. Each atomic keeps every store it got, in order, with a timestamp. A View
// says how far a thread must have seen each atomic (and each other thread). A load may return any
// store from its thread's view on. A store carries a View with it: its thread's own if it releases,
// that of the last release fence else; a load that acquires takes the View over. Sequentially
// consistent operations and fences exchange Views with one of their own, `total`: that is their
// total order, which is the order they are executed in.

namespace plimsoll::model {
namespace {

constexpr int kMaxLocations = 84;
constexpr int kViewSize = kMaxThreads + kMaxLocations;
constexpr size_t kStackBytes = 64 << 10;
constexpr size_t kArenaBytes = 1 << 20;

struct alignas(64) View {
  // [0, kMaxThreads): clocks of threads, for races; from there on: timestamps of atomics.
  int16_t at[kViewSize] = {};

  void Join(const View& other) {
    for (int i = 0; i < kViewSize; ++i) at[i] = at[i] < other.at[i] ? other.at[i] : at[i];
  }
};

struct Message {
  uint64_t value = 0;
  View view;
};

using Clock = std::array<int16_t, kMaxThreads>;
void JoinClock(Clock& into, const Clock& from) {
  for (int i = 0; i < kMaxThreads; ++i) into[i] = std::max(into[i], from[i]);
}

struct Location {
  const void* address = nullptr;
  bool alive = false;
  int first = 0;  // timestamp of history[0]
  std::vector<Message> history;
  size_t size = 0;  // of history in use: its memory is kept between executions
  int held_by = -1;
  // What happened last here, for the reduction.
  Clock writes, reads;

  int last() const { return first + static_cast<int>(size) - 1; }
  Message& Add() {
    if (size == history.size()) history.emplace_back();
    return history[size++];
  }
  const Message& At(int timestamp) const { return history[static_cast<size_t>(timestamp - first)]; }
};

enum class Kind : uint8_t { kLoad, kStore, kUpdate, kFence, kLock, kUnlock, kWait, kChoose };
// How an operation takes part in the total order: two that read it commute.
enum class Total : uint8_t { kNone, kRead, kWrite };

struct Operation {
  Kind kind = Kind::kChoose;
  Total total = Total::kNone;
  bool writes = false;
  bool stays = false;
  int16_t location = -1;
  bool (*condition)(uint64_t, uint64_t) = nullptr;
  uint64_t arg = 0;
  std::source_location where;
};

bool Dependent(const Operation& a, const Operation& b) {
  if (a.location >= 0 && a.location == b.location && (a.writes || b.writes)) return true;
  return a.total != Total::kNone && b.total != Total::kNone &&
         (a.total == Total::kWrite || b.total == Total::kWrite);
}

using Mask = uint32_t;
constexpr Mask Bit(int thread) { return Mask{1} << thread; }

struct Node {
  int8_t thread = -1;
  int8_t before = -1;  // who went in the step before
  uint8_t choice = 0;
  uint8_t choices = 1;
  uint8_t preemptions = 0;  // spent before this step
  Mask enabled = 0;
  Mask backtrack = 0;
  Mask done = 0;
  Mask sleep = 0;
  Operation op;
  Clock clock{};      // what happened before it, itself included
  int timestamp = 0;  // of the last store to its atomic, before it
};

struct ThreadState {
  std::string name;
  std::function<void()> body;
  bool daemon = false;
  bool finished = false;
  bool moved = true;  // since the reduction looked at its pending operation
  void* sp = nullptr;
  Operation pending;
  View view, acquired, released;
  Clock clock;
  int last_location = -1;  // what it loaded last, and which store that was
  int last_timestamp = 0;
};

struct VarLocation {
  const void* address = nullptr;
  int writer = -1;
  int16_t written_at = 0;
  int16_t read_at[kMaxThreads] = {};
};

struct NamedRange {
  const char* begin;
  const char* end;
  std::string name;
};

enum class Outcome { kEnded, kRedundant, kCut, kFailed };

class Engine {
 public:
  Result Run(const Options& options, const Program& program);
  Result RunOnce(const Options& options, const Schedule& schedule, const Program& program);

  // From programs.
  void AddThread(const char* name, std::function<void()> body, bool daemon);
  void* AllocateObject(size_t bytes, size_t align, const char* name);
  [[noreturn]] void FailHere(const std::string& what, const std::source_location& where);

  void Main(int thread);  // where a fiber begins

  bool in_threads() const { return current_ >= 0; }
  int current() const { return current_; }

  // Waits for this thread's turn to do `op`.
  void Turn(const Operation& op);
  // One of n, in the step that this thread was given.
  int Branch(int n);

  int NewLocation(uint64_t value, const void* address);
  void EndLocation(int location);
  Location& At(int location, const std::source_location& where);
  uint64_t Load(int location, std::memory_order order, const std::source_location& where);
  void Store(int location, uint64_t value, std::memory_order order,
             const std::source_location& where);
  uint64_t Update(int location, const internal::Modify& modify, std::memory_order order,
                  std::memory_order failure, bool* done, const std::source_location& where);
  void Fence(std::memory_order order, const std::source_location& where);
  uint64_t Wait(int location, bool (*condition)(uint64_t, uint64_t), uint64_t arg, bool stays,
                const std::source_location& where);
  void Relax(const std::source_location& where);
  void AcquireLock(int location, const std::source_location& where);
  void ReleaseLock(int location, const std::source_location& where);
  bool Held(int location) { return locations_[static_cast<size_t>(location)].held_by != -1; }

  int NewVar(const void* address);
  void VarRead(int var, const std::source_location& where);
  void VarWrite(int var, const std::source_location& where);

  void Trace(const std::string& line) {
    if (tracing_) trace_ += line + "\n";
  }
  bool tracing() const { return tracing_; }
  std::string NameOf(const void* address) const;
  std::string StepName(const char* what, int location, const std::source_location& where) const;

  std::function<void()> at_end;
  const char* planted = "";

 private:
  Outcome Execute(const Program& program);
  void Reset();
  void Finish();  // a thread has ended, or nobody can go on: who is next?
  int Next();     // the thread of the next step; -1: the execution is over
  bool Enabled(const ThreadState& t) const;
  void AddBacktracks(int thread);
  bool CouldGoBefore(const Operation& op, const Node& n) const;
  void AddBacktrack(size_t i, int thread);
  void JoinDependencies(Clock& clock, const Operation& op) const;
  int PickNew(Node& node);
  bool Advance();
  uint32_t Random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return static_cast<uint32_t>(random_ >> 16);
  }
  void SwitchTo(int thread);
  View& view() { return in_threads() ? threads_[current_].view : main_view_; }
  void TakeMessage(const Message& m, std::memory_order order);
  void Released(Message& m, std::memory_order order);
  void Tick() {
    if (in_threads()) ++view().at[current_];
  }
  // Of plain accesses since the last step: the next step's release covers them, the last one's does
  // not.
  int16_t Epoch() { return static_cast<int16_t>(view().at[current_] + 1); }

  Options options_;
  ThreadState threads_[kMaxThreads];
  int thread_count_ = 0;
  int current_ = -1;  // -1: setup or end
  bool launching_ = false;
  void* main_sp_ = nullptr;
  char* stacks_ = nullptr;
  char* arena_ = nullptr;
  size_t arena_used_ = 0;
  std::vector<NamedRange> names_;

  View main_view_;
  View total_;
  Clock total_reads_, total_writes_;
  std::vector<Location> locations_;
  int location_count_ = 0;
  std::vector<int> free_locations_;
  std::vector<VarLocation> vars_;
  int var_count_ = 0;

  std::vector<Node> nodes_;
  std::vector<size_t> sequence_;  // AddBacktrack's
  size_t depth_ = 0;
  size_t prefix_ = 0;  // nodes below it are replayed
  bool replaying_ = false;
  Outcome outcome_ = Outcome::kEnded;
  std::string failure_;
  bool tracing_ = false;
  std::string trace_;
  uint64_t random_ = 1;
  uint64_t steps_ = 0;
  int longest_ = 0;
};

Engine& engine() {
  static Engine e;
  return e;
}

// --- Execution.

void Engine::Reset() {
  for (int i = 0; i < thread_count_; ++i) threads_[i] = ThreadState();
  thread_count_ = 0;
  current_ = -1;
  for (int i = 0; i < location_count_; ++i) {
    Location& l = locations_[static_cast<size_t>(i)];
    l.size = 0;
    l.first = 0;
    l.alive = false;
    l.held_by = -1;
  }
  location_count_ = 0;
  free_locations_.clear();
  var_count_ = 0;
  main_view_ = View();
  total_ = View();
  total_reads_ = total_writes_ = Clock{};
  arena_used_ = 0;
  names_.clear();
  at_end = nullptr;
  depth_ = 0;
  failure_.clear();
  outcome_ = Outcome::kEnded;
}

void Engine::AddThread(const char* name, std::function<void()> body, bool daemon) {
  if (thread_count_ == kMaxThreads) {
    fprintf(stderr, "model: more than %d threads\n", kMaxThreads);
    abort();
  }
  ThreadState& t = threads_[thread_count_++];
  t.name = name;
  t.body = std::move(body);
  t.daemon = daemon;
}

void* Engine::AllocateObject(size_t bytes, size_t align, const char* name) {
  arena_used_ = (arena_used_ + align - 1) / align * align;
  if (arena_used_ + bytes > kArenaBytes) {
    fprintf(stderr, "model: an execution's objects do not fit into %zu bytes\n", kArenaBytes);
    abort();
  }
  char* p = arena_ + arena_used_;
  arena_used_ += bytes;
  memset(p, 0, bytes);
  names_.push_back({p, p + bytes, name});
  return p;
}

Outcome Engine::Execute(const Program& program) {
  Reset();
  program();
  // Each thread runs to its first operation, which is then pending.
  launching_ = true;
  for (int i = 0; i < thread_count_; ++i) {
    ThreadState& t = threads_[i];
    t.view = main_view_;
    t.acquired = t.released = main_view_;
    t.clock = Clock{};
    const uintptr_t top =
        reinterpret_cast<uintptr_t>(stacks_) + static_cast<size_t>(i + 1) * kStackBytes;
    t.sp = stack::PrepareStart(top);
    current_ = i;
    plimsoll_switch(&main_sp_, t.sp);
    if (outcome_ == Outcome::kFailed) break;
  }
  launching_ = false;
  if (outcome_ != Outcome::kFailed) {
    current_ = -1;
    const int first = Next();
    if (first >= 0) {
      current_ = first;
      plimsoll_switch(&main_sp_, threads_[first].sp);
    }
  }
  current_ = -1;
  longest_ = std::max(longest_, static_cast<int>(depth_));
  if (outcome_ != Outcome::kEnded) return outcome_;
  // Nobody can go on: those who had to must have come to their end.
  for (int i = 0; i < thread_count_; ++i) {
    const ThreadState& t = threads_[i];
    if (t.finished || t.daemon || (t.pending.kind == Kind::kWait && t.pending.stays)) continue;
    failure_ = "thread " + t.name + " waits for ever at " +
               StepName("", t.pending.location, t.pending.where);
    return outcome_ = Outcome::kFailed;
  }
  if (at_end) {
    for (int i = 0; i < thread_count_; ++i) main_view_.Join(threads_[i].view);
    const auto check = at_end;
    check();
  }
  return outcome_;
}

void Engine::Main(int thread) {
  threads_[thread].body();
  ThreadState& t = threads_[thread];
  t.finished = true;
  if (launching_) {
    plimsoll_switch(&t.sp, main_sp_);
  } else {
    const int next = Next();
    if (next < 0) {
      plimsoll_switch(&t.sp, main_sp_);
    } else {
      current_ = next;
      plimsoll_switch(&t.sp, threads_[next].sp);
    }
  }
  abort();  // an ended thread is not chosen
}

void Engine::FailHere(const std::string& what, const std::source_location& where) {
  const char* file = strrchr(where.file_name(), '/');
  failure_ = what + " (" + (file != nullptr ? file + 1 : where.file_name()) + ":" +
             std::to_string(where.line()) + ")";
  if (in_threads()) failure_ += " in thread " + threads_[current_].name;
  Trace("FAILED: " + failure_);
  outcome_ = Outcome::kFailed;
  if (!in_threads()) throw std::runtime_error(failure_);  // caught in Run
  void* never;
  plimsoll_switch(&never, main_sp_);
  abort();
}

void Engine::SwitchTo(int thread) {
  ThreadState& me = threads_[current_];
  current_ = thread;
  plimsoll_switch(&me.sp, thread < 0 ? main_sp_ : threads_[thread].sp);
}

void Engine::Turn(const Operation& op) {
  if (!in_threads()) return;
  const int me = current_;
  threads_[me].pending = op;
  threads_[me].moved = true;
  if (launching_) {
    plimsoll_switch(&threads_[me].sp, main_sp_);
    return;  // chosen for its first step
  }
  const int next = Next();
  if (next != me) SwitchTo(next);
}

bool Engine::Enabled(const ThreadState& t) const {
  if (t.finished) return false;
  const Operation& op = t.pending;
  if (op.kind == Kind::kLock) return locations_[static_cast<size_t>(op.location)].held_by == -1;
  if (op.kind == Kind::kWait) {
    const Location& l = locations_[static_cast<size_t>(op.location)];
    return op.condition(l.history[l.size - 1].value, op.arg);
  }
  return true;
}

// Looks for the steps that the pending operation of `thread` races with, and has the search come
// back to each of them to try the other order.
void Engine::AddBacktracks(int thread) {
  ThreadState& t = threads_[thread];
  const Operation& op = t.pending;
  if (op.location < 0 && op.total == Total::kNone) return;
  // For one that has not moved, the steps before the last were looked at already.
  const size_t end = t.moved || depth_ == 0 ? 0 : depth_ - 1;
  Clock seen = t.clock;  // what happens before the operation by way of later steps
  for (size_t i = depth_; i-- > end;) {
    const Node& n = nodes_[i];
    if (n.thread == thread || seen[static_cast<size_t>(n.thread)] > static_cast<int>(i)) continue;
    if (!Dependent(n.op, op)) continue;
    // An unlock lets a lock go on, but it is the lock before it that the lock could go before.
    if (!CouldGoBefore(op, n)) continue;
    AddBacktrack(i, thread);
    JoinClock(seen, n.clock);
  }
}

// Whether `op`, pending, could have been done just before the step of `n`.
bool Engine::CouldGoBefore(const Operation& op, const Node& n) const {
  if (op.kind == Kind::kLock && n.op.kind == Kind::kUnlock) return false;
  if (op.kind == Kind::kWait && n.op.location == op.location) {
    const Location& l = locations_[static_cast<size_t>(op.location)];
    return n.timestamp < l.first || op.condition(l.At(n.timestamp).value, op.arg);
  }
  return true;
}

// Step i and the next of `thread` race. What came after i and not because of it, and then that next
// step, may as well go before i; so one of those that can begin this sequence must be tried at i.
// ("Optimal Dynamic Partial Order Reduction", Abdulla et al., 2014: source sets. To try `thread`
// itself, as the older algorithm does, is wrong together with sleep sets: litmus_test.cc, program
// 95.)
void Engine::AddBacktrack(size_t i, int thread) {
  Node& n = nodes_[i];
  const size_t racer = static_cast<uint8_t>(n.thread);
  Mask begun = 0;     // threads whose first step in the sequence was met
  Mask initials = 0;  // those of them that nothing in the sequence comes before
  sequence_.clear();
  const auto first_of_all = [&](const Clock& clock) {
    for (size_t k : sequence_) {
      if (clock[static_cast<size_t>(nodes_[k].thread)] > static_cast<int>(k)) return false;
    }
    return true;
  };
  for (size_t k = i + 1; k < depth_; ++k) {
    const Node& m = nodes_[k];
    if (m.clock[racer] > static_cast<int>(i)) continue;  // because of i
    if ((begun & Bit(m.thread)) == 0) {
      begun |= Bit(m.thread);
      if (first_of_all(m.clock)) initials |= Bit(m.thread);
    }
    sequence_.push_back(k);
  }
  if ((begun & Bit(thread)) == 0) {
    Clock clock = threads_[thread].clock;
    JoinDependencies(clock, threads_[thread].pending);
    if (first_of_all(clock)) initials |= Bit(thread);
  }
  initials &= n.enabled;
  if (initials == 0) {
    n.backtrack |= n.enabled;  // cannot be, but costs only time
  } else if ((initials & n.backtrack) == 0) {
    n.backtrack |= initials & -initials;
  }
}

void Engine::JoinDependencies(Clock& clock, const Operation& op) const {
  if (op.location >= 0) {
    const Location& l = locations_[static_cast<size_t>(op.location)];
    JoinClock(clock, l.writes);
    if (op.writes) JoinClock(clock, l.reads);
  }
  if (op.total != Total::kNone) {
    JoinClock(clock, total_writes_);
    if (op.total == Total::kWrite) JoinClock(clock, total_reads_);
  }
}

int Engine::PickNew(Node& node) {
  const Mask open = node.enabled & ~node.sleep;
  if (open == 0) return -1;
  if (options_.search == Search::kRandom) {
    // Mostly go on with the same thread: few failures need many switches.
    if (node.before >= 0 && (open & Bit(node.before)) != 0 && Random() % 4 != 0) {
      return node.before;
    }
    int skip = static_cast<int>(Random() % static_cast<uint32_t>(__builtin_popcount(open)));
    for (int i = 0;; ++i) {
      if ((open & Bit(i)) != 0 && skip-- == 0) return i;
    }
  }
  if (node.before >= 0 && (open & Bit(node.before)) != 0) return node.before;
  return __builtin_ctz(open);
}

int Engine::Next() {
  Mask enabled = 0;
  for (int i = 0; i < thread_count_; ++i) {
    if (Enabled(threads_[i])) enabled |= Bit(i);
  }
  const bool whole = options_.search == Search::kWhole && !replaying_;
  if (whole && depth_ >= prefix_) {
    for (int i = 0; i < thread_count_; ++i) {
      if (!threads_[i].finished) AddBacktracks(i);
    }
  }
  if (depth_ >= prefix_) {
    for (int i = 0; i < thread_count_; ++i) threads_[i].moved = false;
  }
  if (enabled == 0) return -1;
  if (static_cast<int>(depth_) >= options_.max_steps) {
    outcome_ = Outcome::kCut;
    return -1;
  }
  if (depth_ >= nodes_.size()) {
    if (replaying_) return -1;  // the schedule has ended
    nodes_.emplace_back();
    Node& node = nodes_.back();
    node.enabled = enabled;
    if (depth_ > 0) {
      const Node& parent = nodes_[depth_ - 1];
      node.before = parent.thread;
      node.preemptions = parent.preemptions;
      if (parent.before >= 0 && parent.before != parent.thread &&
          (parent.enabled & Bit(parent.before)) != 0) {
        ++node.preemptions;
      }
      if (whole) {
        for (int i = 0; i < thread_count_; ++i) {
          if ((parent.sleep & Bit(i)) != 0 && i != parent.thread &&
              !Dependent(parent.op, threads_[i].pending)) {
            node.sleep |= Bit(i);
          }
        }
      }
    }
    const int chosen = PickNew(node);
    if (chosen < 0) {
      nodes_.pop_back();
      outcome_ = Outcome::kRedundant;
      return -1;
    }
    node.thread = static_cast<int8_t>(chosen);
    if (options_.search == Search::kWhole) {
      node.backtrack = Bit(chosen);
    } else if (options_.search == Search::kBounded) {
      const bool free = node.before < 0 || (enabled & Bit(node.before)) == 0;
      node.backtrack = free || node.preemptions < options_.preemptions ? enabled : Bit(node.before);
    }
  }
  Node& node = nodes_[depth_];
  if (replaying_) node.enabled = enabled;
  if ((enabled & Bit(node.thread)) == 0) {
    fprintf(stderr,
            "model: a schedule names a thread that cannot go: the program has changed, or "
            "depends on something that is not its own\n");
    abort();
  }
  ThreadState& t = threads_[static_cast<uint8_t>(node.thread)];
  node.op = t.pending;
  ++depth_;
  ++steps_;
  if (whole) {
    // What happens before this step: all of its thread, and what it depends on.
    JoinDependencies(t.clock, node.op);
    t.clock[static_cast<size_t>(node.thread)] = static_cast<int16_t>(depth_);
    node.clock = t.clock;
    if (node.op.location >= 0) {
      Location& l = locations_[static_cast<size_t>(node.op.location)];
      node.timestamp = l.last();
      JoinClock(node.op.writes ? l.writes : l.reads, t.clock);
    }
    if (node.op.total != Total::kNone) {
      JoinClock(node.op.total == Total::kWrite ? total_writes_ : total_reads_, t.clock);
    }
  }
  return node.thread;
}

int Engine::Branch(int n) {
  if (!in_threads()) return 0;
  Node& node = nodes_[depth_ - 1];
  if (depth_ - 1 < prefix_ || replaying_) return node.choice < n ? node.choice : n - 1;
  node.choices = static_cast<uint8_t>(std::min(n, 255));
  if (options_.search == Search::kRandom) {
    // Half of the time the first, which for a load is the last store.
    node.choice = Random() % 2 == 0 ? 0 : static_cast<uint8_t>(Random() % static_cast<uint32_t>(n));
  }
  return node.choice;
}

// To the next execution of the search; false when there is none.
bool Engine::Advance() {
  while (!nodes_.empty()) {
    Node& n = nodes_.back();
    if (n.choice + 1 < n.choices) {
      ++n.choice;
      prefix_ = nodes_.size();
      return true;
    }
    n.done |= Bit(n.thread);
    if (options_.search == Search::kWhole) n.sleep |= Bit(n.thread);
    const Mask open = n.backtrack & ~n.done & ~(options_.search == Search::kWhole ? n.sleep : 0);
    if (open != 0) {
      n.thread = static_cast<int8_t>(__builtin_ctz(open));
      n.choice = 0;
      n.choices = 1;
      // Its choices are not known yet: the step itself is not a replay.
      prefix_ = nodes_.size() - 1;
      return true;
    }
    nodes_.pop_back();
  }
  return false;
}

Result Engine::Run(const Options& options, const Program& program) {
  if (stacks_ == nullptr) {
    stacks_ = static_cast<char*>(mmap(nullptr, kStackBytes * kMaxThreads, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    arena_ = static_cast<char*>(
        mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (stacks_ == MAP_FAILED || arena_ == MAP_FAILED) abort();
    locations_.resize(kMaxLocations);
  }
  options_ = options;
  nodes_.clear();
  prefix_ = 0;
  steps_ = 0;
  longest_ = 0;
  random_ = options.seed * 0x9e3779b97f4a7c15u | 1;
  const auto begin = std::chrono::steady_clock::now();
  Result result;
  for (;;) {
    Outcome outcome;
    try {
      outcome = Execute(program);
    } catch (const std::runtime_error&) {  // a failure outside of threads
      outcome = Outcome::kFailed;
    }
    if (outcome == Outcome::kRedundant) {
      ++result.redundant;
    } else {
      ++result.executions;
      if (outcome == Outcome::kCut) ++result.cut;
    }
    if (outcome == Outcome::kFailed) {
      result.failed = true;
      result.failure = failure_;
      for (size_t i = 0; i < depth_; ++i) {
        result.schedule.push_back({static_cast<uint8_t>(nodes_[i].thread), nodes_[i].choice});
      }
      break;
    }
    if (options.search == Search::kRandom) {
      nodes_.clear();
      if (result.executions >= options.executions) {
        result.complete = true;
        break;
      }
      continue;
    }
    if (!Advance()) {
      result.complete = true;
      break;
    }
    if (result.executions >= options.executions) break;
  }
  result.steps = steps_;
  result.longest = longest_;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

Result Engine::RunOnce(const Options& options, const Schedule& schedule, const Program& program) {
  options_ = options;
  nodes_.clear();
  for (const Step& s : schedule) {
    Node n;
    n.thread = static_cast<int8_t>(s.thread);
    n.choice = s.choice;
    nodes_.push_back(n);
  }
  prefix_ = nodes_.size();
  replaying_ = tracing_ = true;
  trace_.clear();
  Result result;
  try {
    Execute(program);
  } catch (const std::runtime_error&) {  // NOLINT(bugprone-empty-catch): outcome_ says how it ended
  }
  result.failed = outcome_ == Outcome::kFailed;
  result.failure = failure_;
  result.executions = 1;
  result.longest = static_cast<int>(depth_);
  result.schedule = schedule;
  result.trace = trace_;
  if (result.failed) result.trace += "=> " + failure_ + "\n";
  result.trace += "replay: " + ToText(schedule) + "\n";
  replaying_ = tracing_ = false;
  return result;
}

// --- Names, for traces.

std::string Engine::NameOf(const void* address) const {
  const char* at = static_cast<const char*>(address);
  for (const NamedRange& r : names_) {
    if (at >= r.begin && at < r.end) {
      return at == r.begin ? r.name : r.name + "+" + std::to_string(at - r.begin);
    }
  }
  for (int i = 0; i < thread_count_; ++i) {
    const char* stack = stacks_ + static_cast<size_t>(i) * kStackBytes;
    if (at >= stack && at < stack + kStackBytes) {
      return "stack(" + threads_[i].name + ")-" + std::to_string(stack + kStackBytes - at);
    }
  }
  return "global";
}

std::string Engine::StepName(const char* what, int location,
                             const std::source_location& where) const {
  const char* file = strrchr(where.file_name(), '/');
  std::string s = in_threads() ? threads_[current_].name : "";
  s.resize(std::max<size_t>(s.size(), 10), ' ');
  s += std::string(" ") + what;
  if (location >= 0) s += " " + NameOf(locations_[static_cast<size_t>(location)].address);
  s += std::string("  [") + (file != nullptr ? file + 1 : where.file_name()) + ":" +
       std::to_string(where.line()) + "]";
  return s;
}

// --- Memory.

Operation MakeOp(Kind kind, int location, bool writes, std::memory_order order,
                 const std::source_location& where) {
  Operation op;
  op.kind = kind;
  op.location = static_cast<int16_t>(location);
  // A seq_cst load moves the total order's view of its atomic, as a store does.
  const bool total = order == std::memory_order_seq_cst;
  op.writes = writes || total;
  op.total = total ? Total::kRead : Total::kNone;
  op.where = where;
  return op;
}

int Engine::NewLocation(uint64_t value, const void* address) {
  int id;
  if (!free_locations_.empty()) {
    id = free_locations_.back();
    free_locations_.pop_back();
  } else {
    if (location_count_ == kMaxLocations) {
      fprintf(stderr, "model: more than %d atomics\n", kMaxLocations);
      abort();
    }
    id = location_count_++;
    Location& fresh = locations_[static_cast<size_t>(id)];
    fresh.first = 1;
    fresh.writes = fresh.reads = Clock{};
  }
  Location& l = locations_[static_cast<size_t>(id)];
  l.first += static_cast<int>(l.size);
  l.size = 0;
  l.alive = true;
  l.address = address;
  l.held_by = -1;
  Message& m = l.Add();
  m.value = value;
  m.view = View();
  view().at[kMaxThreads + id] = static_cast<int16_t>(l.last());
  return id;
}

void Engine::EndLocation(int location) {
  if (location < 0 || location >= location_count_) return;
  // A step: who uses it may come before or after.
  Turn(MakeOp(Kind::kUpdate, location, true, std::memory_order_relaxed,
              std::source_location::current()));
  locations_[static_cast<size_t>(location)].alive = false;
  free_locations_.push_back(location);
}

Location& Engine::At(int location, const std::source_location& where) {
  if (location < 0 || location >= location_count_ ||
      !locations_[static_cast<size_t>(location)].alive) {
    FailHere("an atomic is used after its end", where);
  }
  return locations_[static_cast<size_t>(location)];
}

bool Acquires(std::memory_order o) {
  return o == std::memory_order_acquire || o == std::memory_order_acq_rel ||
         o == std::memory_order_seq_cst || o == std::memory_order_consume;
}
bool Releases(std::memory_order o) {
  return o == std::memory_order_release || o == std::memory_order_acq_rel ||
         o == std::memory_order_seq_cst;
}

void Engine::TakeMessage(const Message& m, std::memory_order order) {
  if (!in_threads()) {
    main_view_.Join(m.view);
    return;
  }
  ThreadState& t = threads_[current_];
  t.acquired.Join(m.view);
  if (Acquires(order)) t.view.Join(m.view);
}

void Engine::Released(Message& m, std::memory_order order) {
  if (!in_threads()) {
    m.view = main_view_;
  } else {
    const ThreadState& t = threads_[current_];
    m.view = Releases(order) ? t.view : t.released;
  }
}

uint64_t Engine::Load(int location, std::memory_order order, const std::source_location& where) {
  At(location, where);
  Turn(MakeOp(Kind::kLoad, location, false, order, where));
  Location& l = At(location, where);
  Tick();
  const size_t slot = static_cast<size_t>(kMaxThreads) + static_cast<size_t>(location);
  int oldest = std::max<int>(view().at[slot], l.first);
  if (order == std::memory_order_seq_cst) oldest = std::max<int>(oldest, total_.at[slot]);
  if (options_.memory == Memory::kSequential || !in_threads()) oldest = l.last();
  const int back = Branch(l.last() - oldest + 1);
  const int timestamp = l.last() - back;
  const Message& m = l.At(timestamp);
  if (tracing_) {
    Trace(StepName("load", location, where) + " = " + std::to_string(m.value) +
          (back > 0 ? " (stale by " + std::to_string(back) + ")" : ""));
  }
  view().at[slot] = static_cast<int16_t>(timestamp);
  TakeMessage(m, order);
  if (order == std::memory_order_seq_cst) {
    total_.at[slot] = std::max(total_.at[slot], static_cast<int16_t>(timestamp));
  }
  if (in_threads()) {
    threads_[current_].last_location = location;
    threads_[current_].last_timestamp = timestamp;
  }
  return m.value;
}

void Engine::Store(int location, uint64_t value, std::memory_order order,
                   const std::source_location& where) {
  At(location, where);
  Turn(MakeOp(Kind::kStore, location, true, order, where));
  Location& l = At(location, where);
  Tick();
  const size_t slot = static_cast<size_t>(kMaxThreads) + static_cast<size_t>(location);
  Message& m = l.Add();
  m.value = value;
  view().at[slot] = static_cast<int16_t>(l.last());
  Released(m, order);
  m.view.at[slot] = static_cast<int16_t>(l.last());
  if (order == std::memory_order_seq_cst) total_.at[slot] = static_cast<int16_t>(l.last());
  if (tracing_) Trace(StepName("store", location, where) + " = " + std::to_string(value));
}

uint64_t Engine::Update(int location, const internal::Modify& modify, std::memory_order order,
                        std::memory_order failure, bool* done, const std::source_location& where) {
  At(location, where);
  Operation op = MakeOp(Kind::kUpdate, location, true, order, where);
  if (failure == std::memory_order_seq_cst) op.total = Total::kRead;
  Turn(op);
  Location& l = At(location, where);
  Tick();
  const size_t slot = static_cast<size_t>(kMaxThreads) + static_cast<size_t>(location);
  const uint64_t old = l.At(l.last()).value;
  uint64_t value = modify.operand;
  *done = true;
  switch (modify.kind) {
    case internal::Modify::kExchange:
      break;
    case internal::Modify::kCompare:
      *done = old == modify.expected;
      break;
    case internal::Modify::kAdd:
      value = (old + modify.operand) & modify.mask;
      break;
    case internal::Modify::kAnd:
      value = old & modify.operand;
      break;
    case internal::Modify::kOr:
      value = old | modify.operand;
      break;
  }
  const std::memory_order takes = *done ? order : failure;
  TakeMessage(l.At(l.last()), takes);
  if (*done) {
    Message& m = l.Add();
    const Message& before = l.At(l.last() - 1);
    m.value = value;
    view().at[slot] = static_cast<int16_t>(l.last());
    Released(m, order);
    m.view.at[slot] = static_cast<int16_t>(l.last());
    m.view.Join(before.view);  // a release sequence goes on through an update
  } else {
    view().at[slot] = static_cast<int16_t>(l.last());
  }
  if (takes == std::memory_order_seq_cst) total_.at[slot] = static_cast<int16_t>(l.last());
  if (in_threads()) {
    threads_[current_].last_location = location;
    threads_[current_].last_timestamp = l.last();
  }
  if (tracing_) {
    Trace(StepName(*done ? "update" : "CAS fails on", location, where) + " " + std::to_string(old) +
          (*done ? " -> " + std::to_string(value) : ""));
  }
  return old;
}

void Engine::Fence(std::memory_order order, const std::source_location& where) {
  if (!in_threads()) return;
  if (order == std::memory_order_seq_cst) {
    Operation op;
    op.kind = Kind::kFence;
    op.total = Total::kWrite;
    op.where = where;
    Turn(op);
    Tick();
    ThreadState& t = threads_[current_];
    t.view.Join(t.acquired);
    t.view.Join(total_);
    total_ = t.view;
    // Clocks are no part of the total order: a fence alone makes nothing happen before.
    for (int i = 0; i < kMaxThreads; ++i) total_.at[i] = 0;
    t.released = t.view;
    Trace(StepName("fence", -1, where));
    return;
  }
  ThreadState& t = threads_[current_];
  if (Acquires(order)) t.view.Join(t.acquired);
  if (Releases(order)) t.released = t.view;
}

uint64_t Engine::Wait(int location, bool (*condition)(uint64_t, uint64_t), uint64_t arg, bool stays,
                      const std::source_location& where) {
  Operation op = MakeOp(Kind::kWait, location, false, std::memory_order_acquire, where);
  op.condition = condition;
  op.arg = arg;
  op.stays = stays;
  Turn(op);
  Location& l = At(location, where);
  Tick();
  const Message& m = l.At(l.last());
  view().at[kMaxThreads + location] = static_cast<int16_t>(l.last());
  TakeMessage(m, std::memory_order_acquire);
  if (tracing_) Trace(StepName("waited for", location, where) + " = " + std::to_string(m.value));
  return m.value;
}

void Engine::Relax(const std::source_location& where) {
  if (!in_threads()) return;
  ThreadState& t = threads_[current_];
  if (t.last_location < 0) return;
  // Enabled once there is a later store than the one that was loaded; and then it is seen.
  Operation op = MakeOp(Kind::kWait, t.last_location, false, std::memory_order_relaxed, where);
  const Location& l = At(t.last_location, where);
  // The value that was seen last; loops wait for it to change.
  op.condition = [](uint64_t now, uint64_t seen) { return now != seen; };
  op.arg = l.At(t.last_timestamp).value;
  Turn(op);
  Location& after = At(t.last_location, where);
  view().at[kMaxThreads + t.last_location] = static_cast<int16_t>(after.last());
  Trace(StepName("relaxed until a change of", t.last_location, where));
}

void Engine::AcquireLock(int location, const std::source_location& where) {
  At(location, where);
  Turn(MakeOp(Kind::kLock, location, true, std::memory_order_acquire, where));
  Location& l = At(location, where);
  if (l.held_by != -1) FailHere("a lock is taken twice", where);
  Tick();
  l.held_by = in_threads() ? current_ : -2;
  TakeMessage(l.At(l.last()), std::memory_order_acquire);
  if (tracing_) Trace(StepName("lock", location, where));
}

void Engine::ReleaseLock(int location, const std::source_location& where) {
  At(location, where);
  Turn(MakeOp(Kind::kUnlock, location, true, std::memory_order_release, where));
  Location& l = At(location, where);
  if (l.held_by == -1) FailHere("an unlock of what nobody holds", where);
  Tick();
  l.held_by = -1;
  Message& m = l.history[0];  // one message will do: nobody reads an older one
  m.value = 0;
  l.size = 1;
  Released(m, std::memory_order_release);
  if (tracing_) Trace(StepName("unlock", location, where));
}

int Engine::NewVar(const void* address) {
  if (var_count_ == static_cast<int>(vars_.size())) vars_.emplace_back();
  VarLocation& v = vars_[static_cast<size_t>(var_count_)];
  v = VarLocation();
  v.address = address;
  if (in_threads()) {
    v.writer = current_;
    v.written_at = Epoch();
  }
  return var_count_++;
}

void Engine::VarRead(int var, const std::source_location& where) {
  if (!in_threads()) return;
  VarLocation& v = vars_[static_cast<size_t>(var)];
  const View& mine = view();
  if (tracing_) Trace(threads_[current_].name + "  reads " + NameOf(v.address));
  if (v.writer >= 0 && v.writer != current_ && mine.at[v.writer] < v.written_at) {
    FailHere("data race: a read of " + NameOf(v.address) + " beside the write of thread " +
                 threads_[v.writer].name,
             where);
  }
  v.read_at[current_] = Epoch();
}

void Engine::VarWrite(int var, const std::source_location& where) {
  if (!in_threads()) return;
  VarLocation& v = vars_[static_cast<size_t>(var)];
  const View& mine = view();
  if (tracing_) Trace(threads_[current_].name + "  writes " + NameOf(v.address));
  if (v.writer >= 0 && v.writer != current_ && mine.at[v.writer] < v.written_at) {
    FailHere("data race: a write of " + NameOf(v.address) + " beside that of thread " +
                 threads_[v.writer].name,
             where);
  }
  for (int i = 0; i < thread_count_; ++i) {
    if (i != current_ && mine.at[i] < v.read_at[i]) {
      FailHere("data race: a write of " + NameOf(v.address) + " beside the read of thread " +
                   threads_[i].name,
               where);
    }
  }
  v.writer = current_;
  v.written_at = Epoch();
}

}  // namespace

// --- The doors.

Result Explore(const Options& options, const Program& program) {
  Result result = engine().Run(options, program);
  if (!result.failed) return result;
  const Result again = engine().RunOnce(options, result.schedule, program);
  result.trace = again.trace;
  if (!again.failed || again.failure != result.failure) {
    result.trace += "(the replay ended otherwise: " + again.failure + ")\n";
  }
  return result;
}

Result Replay(const Options& options, const Schedule& schedule, const Program& program) {
  return engine().RunOnce(options, schedule, program);
}

std::string ToText(const Schedule& schedule) {
  std::string text;
  for (const Step& s : schedule) {
    if (!text.empty()) text += ' ';
    text += std::to_string(s.thread);
    if (s.choice != 0) text += "." + std::to_string(s.choice);
  }
  return text;
}

Schedule ScheduleFromText(const std::string& text) {
  Schedule schedule;
  const char* at = text.c_str();
  while (*at != '\0') {
    char* end;
    const unsigned long thread = strtoul(at, &end, 10);
    unsigned long choice = 0;
    if (*end == '.') choice = strtoul(end + 1, &end, 10);
    schedule.push_back({static_cast<uint8_t>(thread), static_cast<uint8_t>(choice)});
    at = end;
    while (*at == ' ') ++at;
  }
  return schedule;
}

void Thread(const char* name, std::function<void()> body) {
  engine().AddThread(name, std::move(body), false);
}
void Daemon(const char* name, std::function<void()> body) {
  engine().AddThread(name, std::move(body), true);
}
void AtEnd(std::function<void()> check) { engine().at_end = std::move(check); }
void* Allocate(size_t bytes, size_t align, const char* name) {
  return engine().AllocateObject(bytes, align, name);
}
void Fail(const std::string& what, std::source_location where) { engine().FailHere(what, where); }
int Choose(int n, std::source_location where) {
  Operation op;
  op.where = where;
  engine().Turn(op);
  const int chosen = engine().Branch(n);
  if (engine().tracing()) {
    engine().Trace(engine().StepName("chooses", -1, where) + " " + std::to_string(chosen) + " of " +
                   std::to_string(n));
  }
  return chosen;
}
void Note(const std::string& text) {
  if (engine().tracing()) engine().Trace("           -- " + text);
}
int ThreadIndex() { return engine().current(); }
bool Planted(const char* fault) { return strcmp(engine().planted, fault) == 0; }
void PlantFault(const char* fault) { engine().planted = fault; }

namespace internal {

int NewLocation(uint64_t value, const void* address) {
  return engine().NewLocation(value, address);
}
void EndLocation(int location) { engine().EndLocation(location); }
uint64_t Load(int location, std::memory_order order, const Where& where) {
  return engine().Load(location, order, where);
}
void Store(int location, uint64_t value, std::memory_order order, const Where& where) {
  engine().Store(location, value, order, where);
}
uint64_t ReadModifyWrite(int location, const Modify& modify, std::memory_order order,
                         std::memory_order failure, bool* done, const Where& where) {
  return engine().Update(location, modify, order, failure, done, where);
}
void Fence(std::memory_order order, const Where& where) { engine().Fence(order, where); }
uint64_t WaitUntil(int location, bool (*condition)(uint64_t, uint64_t), uint64_t arg, bool stays,
                   const Where& where) {
  return engine().Wait(location, condition, arg, stays, where);
}
void Relax(const Where& where) { engine().Relax(where); }
void LockOp(int location, const Where& where) { engine().AcquireLock(location, where); }
void UnlockOp(int location, const Where& where) { engine().ReleaseLock(location, where); }
bool IsHeld(int location) { return engine().Held(location); }
int NewVar(const void* address) { return engine().NewVar(address); }
void VarRead(int var, const Where& where) { engine().VarRead(var, where); }
void VarWrite(int var, const Where& where) { engine().VarWrite(var, where); }

}  // namespace internal
}  // namespace plimsoll::model

// Where runtime/stack's switch starts a new stack.
extern "C" void plimsoll_goroutine_main() {
  plimsoll::model::engine().Main(plimsoll::model::engine().current());
  abort();
}
