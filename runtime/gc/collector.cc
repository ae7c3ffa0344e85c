#include "plimsoll/runtime/gc/collector.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/collectable.h"
#include "plimsoll/runtime/gc/afterlife.h"
#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/crew.h"
#include "plimsoll/runtime/gc/fault.h"
#include "plimsoll/runtime/gc/marker.h"
#include "plimsoll/runtime/gc/probe.h"
#include "plimsoll/runtime/gc/root_table.h"
#include "plimsoll/runtime/gc/spill.h"
#include "plimsoll/runtime/gc/verify.h"

namespace plimsoll::gc {
namespace {

using internal::Fault;

// As Go's: a heap smaller than this is not worth a cycle.
constexpr uint64_t kLeastHeap = 4 << 20;
// However tight the memory limit is, so much of the live heap may be allocated between two cycles,
// in percent: a heap that is at its limit must not collect for ever. (10 was tried: with 51 MiB
// live in a container of 64 the heap's overhead and the runtime's own 9 MiB did not fit beside it.)
constexpr uint64_t kLeastGoGc = 5;
// Where the limit leaves less than so much of it the program is told.
constexpr uint64_t kPressureGoGc = 10;

constexpr size_t kPauses = 1024;

// A mark beside the program. Written by who holds `running`, in the stopped world of its start.
struct Beside {
  uint64_t number = 0;
  bool forced = false;
  int64_t begun_ns = 0;     // the first stop
  int64_t marking_ns = 0;   // the world runs again
  int64_t start_ns = 0;     // the first pause
  int64_t stopping_ns = 0;  // of it, until the world was stopped
  uint64_t heap_bytes = 0;  // when it began
  uint64_t since_mark = 0;  // bytes allocated before it
  uint64_t goal = 0;
  uint64_t taken = 0;
  uint64_t work = 0;  // bytes that there are likely to be marked
  int64_t background_ns = 0, idle_ns = 0, assist_ns = 0;  // as it began
};

enum class Phase : uint8_t { kOff, kMarking };

struct Collector {
  std::atomic<World*> world{nullptr};
  std::atomic<int> gogc{100};
  std::atomic<uint64_t> heap_limit{UINT64_MAX};
  std::atomic<Pressure> pressure{Pressure::kNone};

  base::SpinLock plan_mu;  // a leaf; with preemption off. Also in a stopped world.
  // Memory outside of the heap that the program has told of; and the least of it since the mark, as
  // far as is known what is kept: what the dead held goes when their cleanups have run.
  int64_t external ABSL_GUARDED_BY(plan_mu) = 0;
  int64_t external_kept ABSL_GUARDED_BY(plan_mu) = 0;
  uint64_t live ABSL_GUARDED_BY(plan_mu) = 0;              // bytes, by the last mark
  uint64_t taken ABSL_GUARDED_BY(plan_mu) = 0;             // see PlanTrigger()
  uint64_t trigger ABSL_GUARDED_BY(plan_mu) = UINT64_MAX;  // bytes since the mark
  bool trace = false;
  bool checkmark = false;
  bool verify = false;
  Fault fault = Fault::kNone;
  int64_t started_ns = 0;

  // Helpers mark while the world is stopped. Made by who holds `running`, and never ended.
  int markers = 0;
  int helpers = 0;
  uint64_t share_from = 0;
  internal::MarkPool pool;

  bool beside = true;
  size_t step_bytes = 64 << 10;
  internal::Crew crew;
  std::atomic<Phase> phase{Phase::kOff};  // changed in a stopped world
  std::atomic<bool> ending{false};        // who holds it ends the mark
  std::atomic<int> background{0};         // goroutines in MarkInBackground, or begun for it
  std::atomic<bool> cleanups_due{false};  // a goroutine was begun for them and runs none yet
  Beside mark;
  std::atomic<uint64_t> room{0};              // bytes from the last mark to the goal
  std::atomic<uint64_t> allocated_beside{0};  // bytes, while the last mark went on
  std::atomic<int64_t> background_ns{0};
  std::atomic<int64_t> idle_ns{0};
  std::atomic<int64_t> assist_ns{0};
  std::atomic<uint64_t> restarts{0};
  std::atomic<uint64_t> pause_count{0};

  // Who holds it runs a cycle.
  std::atomic<bool> running{false};
  std::atomic<uint64_t> begun{0};
  std::atomic<uint64_t> ended{0};
  std::atomic<int64_t> ended_ns{0};

  std::atomic<uint64_t> forced{0};
  std::atomic<uint64_t> live_objects{0};
  std::atomic<uint64_t> goal{kLeastHeap};
  std::atomic<int64_t> stopping_ns{0};
  std::atomic<int64_t> max_stopping_ns{0};
  std::atomic<int64_t> stopped_ns{0};
  std::atomic<int64_t> max_stopped_ns{0};
  std::atomic<int64_t> total_stopped_ns{0};
  struct {
    std::atomic<int64_t> stopping_ns, stopped_ns;
  } pauses[kPauses] = {};
};

constinit Collector gc;

World& TheWorld() {
  World* world = gc.world.load(std::memory_order_acquire);
  PLIMSOLL_CHECK(world != nullptr, "gc:: is used before gc::Start");
  return *world;
}

// Whether the next mark is beside the program: the marker's faults are those of a stopped world's.
bool MarksBeside() {
  return gc.beside && (gc.fault == Fault::kNone || gc.fault >= internal::kFirstBeside);
}

// What may be allocated until the next cycle begins, by GOGC and the limit. `taken` is what the
// heap's spans took beyond their objects when it was marked: pieces too small for what is asked of
// them.
uint64_t PlanTrigger(uint64_t live, uint64_t taken) ABSL_EXCLUSIVE_LOCKS_REQUIRED(gc.plan_mu) {
  const int gogc = gc.gogc.load(std::memory_order_relaxed);
  const auto external = static_cast<uint64_t>(gc.external);
  const auto kept = static_cast<uint64_t>(gc.external_kept);
  uint64_t room = UINT64_MAX;
  if (gogc >= 0) {
    const auto percent = static_cast<uint64_t>(gogc);
    if (__builtin_mul_overflow((live + kept) / 100, percent, &room)) room = UINT64_MAX;
    room = std::max(room, kLeastHeap * percent / 100);
  }
  const uint64_t limit = gc.heap_limit.load(std::memory_order_relaxed);
  Pressure pressure = Pressure::kNone;
  bool tight = false;
  if (limit != UINT64_MAX) {
    const uint64_t used = live + taken;
    const uint64_t left = limit > used ? limit - used : 0;
    const uint64_t least = std::max(live / 100 * kLeastGoGc, uint64_t{256} << 10);
    if (left < least) {
      pressure = Pressure::kCritical;
    } else if (left < live / 100 * kPressureGoGc && left < room) {
      pressure = Pressure::kHigh;
    }
    tight = left < room;
    room = std::min(room, std::max(left, least));
  }
  alloc::SetTight(tight);
  gc.pressure.store(pressure, std::memory_order_relaxed);
  // Memory outside of the heap that came since the mark, or since some was given back, is as if it
  // were allocated.
  if (room != UINT64_MAX) room -= std::min(room, external - kept);
  gc.goal.store(room == UINT64_MAX ? UINT64_MAX : live + room, std::memory_order_relaxed);
  gc.room.store(room, std::memory_order_relaxed);
  if (room == UINT64_MAX || !MarksBeside()) return room;
  // A mark begins before its goal, so that what is allocated meanwhile has room: a quarter more
  // than last time. Go's bounds: not before 0.7 of the way, not after 0.95.
  const uint64_t beside = gc.allocated_beside.load(std::memory_order_relaxed);
  const uint64_t ahead = beside + beside / 4;
  return room - std::clamp(ahead, room / 20, room / 10 * 3);
}

// After a mark, in its stopped world.
void Plan(uint64_t live, uint64_t taken) {
  base::SpinLockHolder hold(gc.plan_mu);
  gc.external_kept = gc.external;
  gc.live = live;
  gc.taken = taken;
  gc.trigger = PlanTrigger(live, taken);
  alloc::SetTrigger(gc.trigger);
}

// Without a mark: something else has changed.
void Replan() ABSL_EXCLUSIVE_LOCKS_REQUIRED(gc.plan_mu) {
  gc.trigger = PlanTrigger(gc.live, gc.taken);
  alloc::SetTrigger(gc.trigger);
}

// What one cycle hands from frame to frame.
struct Cycle {
  World* world;
  uint64_t heap_bytes;  // before it
  uintptr_t sp = 0;     // the running stack's, below the registers that were spilled
  uint64_t live_bytes = 0;
  uint64_t live_objects = 0;
};

void VisitAllRoots(void* arg, void (*on_root)(uintptr_t, void*), void* to, RangeSink& sink) {
  auto& cycle = *static_cast<Cycle*>(arg);
  internal::VisitRoots(on_root, to, sink);
  cycle.world->ScanStacks(cycle.sp, sink);
}

// A helper's thread.
void* Help(void*) {
  internal::Marker marker(gc.pool);
  for (uint32_t round = 0;;) {
    round = gc.pool.AwaitRound(round);
    marker.TakeAndDrain(/*working=*/false);
  }
}

void MakeHelpers(World& world) {
  constexpr int kMost = 8;
  const int wanted = gc.markers > 0 ? gc.markers : std::min(world.Procs(), kMost);
  while (gc.helpers + 1 < wanted && world.StartHelper(&Help)) ++gc.helpers;
}

// Hands roots to the marker, but for those that a fault hides.
class FaultySink final : public RangeSink {
 public:
  FaultySink(internal::Marker& marker, Fault fault) : marker_(marker), fault_(fault) {}
  void Scan(uintptr_t lo, uintptr_t hi) override {
    if (fault_ == Fault::kMissedStack || fault_ == Fault::kMissedRange) return;
    if (fault_ == Fault::kHalfStack) hi = lo + (hi - lo) / 2;
    marker_.Scan(lo, hi);
  }

 private:
  internal::Marker& marker_;
  const Fault fault_;
};

// Changes the mark of the first object with pointers that has another one.
void SetOneMark(bool marked) {
  struct Search {
    bool marked;
    bool done = false;
  } search{marked};
  alloc::ForEachObject(
      [](const alloc::Object& o, void* arg) {
        auto& s = *static_cast<Search*>(arg);
        if (s.done || alloc::IsMarked(o) == s.marked ||
            o.span->shape->layout.kind == alloc::Layout::Kind::kNoscan) {
          return;
        }
        if (s.marked) {
          (void)alloc::Mark(o);
        } else {
          alloc::Unmark(o);
        }
        s.done = true;
      },
      &search);
}

void Verify() {
  internal::VerifyHeap();
  internal::VerifyAfterlife();
}

void MarkAll(Cycle& cycle) {
  alloc::BeginMark();
  if (gc.fault == Fault::kStaleMark) SetOneMark(true);
  if (gc.verify) alloc::CheckCollectedInvariants();
  static constexpr auto kOnRoot = [](uintptr_t address, void* to) {
    static_cast<internal::Marker*>(to)->Root(address);
  };
  // Threads that are not stopped may move a pointer from a Root that is yet to be looked at to one
  // that was; once all were looked at, what they hold was found or noted.
  internal::OpenBarrier();
  const auto drain = [](internal::Marker& marker) {
    marker.Drain();
    internal::CloseBarrier();
    internal::TakeNotes(kOnRoot, &marker);
    marker.Drain();
  };
  internal::MarkPool::Sum marked;
  if (gc.helpers > 0 && cycle.heap_bytes >= gc.share_from && gc.fault == Fault::kNone) {
    internal::Marker marker(gc.pool);
    gc.pool.Open();
    VisitAllRoots(&cycle, kOnRoot, &marker, marker);
    drain(marker);
    marker.TakeAndDrain(/*working=*/true);
    marked = gc.pool.Total();
  } else {
    internal::Marker marker(gc.fault);
    FaultySink sink(marker, gc.fault);
    VisitAllRoots(&cycle, kOnRoot, &marker,
                  gc.fault == Fault::kNone ? static_cast<RangeSink&>(marker) : sink);
    drain(marker);
    marked = marker.marked();
  }
  if (gc.fault == Fault::kFreeMarked) SetOneMark(false);
  if (gc.checkmark) internal::CheckMarks(&VisitAllRoots, &cycle);
  const internal::Judged judged = internal::Judge(/*search=*/true, gc.verify);
  if (gc.verify) Verify();
  cycle.live_bytes = marked.bytes + judged.bytes;
  cycle.live_objects = marked.objects + judged.objects;
  alloc::EndMark(cycle.live_bytes);
}

// Runs f, whose stack is scanned from below the registers.
void SpillAnd(Cycle& cycle, void (*f)(Cycle&)) {
  struct Call {
    Cycle& cycle;
    void (*f)(Cycle&);
  } call{cycle, f};
  internal::WithRegistersSpilled(
      [](uintptr_t sp, void* arg) {
        auto& c = *static_cast<Call*>(arg);
        c.cycle.sp = sp;
        c.f(c.cycle);
      },
      &call);
}

void Raise(std::atomic<int64_t>& max, int64_t value) {
  if (value > max.load(std::memory_order_relaxed)) max.store(value, std::memory_order_relaxed);
}

double Millis(int64_t ns) { return static_cast<double>(ns) / 1e6; }

// Go's line: "gc 1 @0.012s 2%: 0.018+1.2+0.004 ms clock, 0.036+0.1/0.5/0.7+0.008 ms cpu, 4->5->1
// MB, 5 MB goal, 0 MB stacks, 0 MB globals, 2 P". Clock: the first pause, marking beside the
// program, the last pause. CPU: the pauses times P; assists, background, idle. A cycle in a stopped
// world has all of it in the last pause. Behind Go's fields: of the two pauses, how long it took to
// stop the world.
struct TraceLine {
  uint64_t number;
  bool forced;
  int64_t begun_ns, start_ns, beside_ns, end_ns;
  int64_t start_stopping_ns, end_stopping_ns;
  int64_t assist_ns, background_ns, idle_ns;
  uint64_t before, at_end, live, goal;
};
void Trace(const TraceLine& t, World& world) {
  char line[320];
  const int procs = world.Procs();
  const int64_t run = std::max<int64_t>(1, world.NowNanos() - gc.started_ns);
  const int64_t used = gc.total_stopped_ns.load(std::memory_order_relaxed) * procs +
                       gc.background_ns.load(std::memory_order_relaxed) +
                       gc.idle_ns.load(std::memory_order_relaxed) +
                       gc.assist_ns.load(std::memory_order_relaxed);
  const double percent = 100.0 * static_cast<double>(used) / static_cast<double>(run * procs);
  const int n = std::snprintf(
      line, sizeof line,
      "gc %llu @%.3fs %.0f%%: %.3f+%.3g+%.3f ms clock, %.3f+%.3g/%.3g/%.3g+%.3f ms cpu, "
      "%llu->%llu->%llu MB, %llu MB goal, 0 MB stacks, 0 MB globals, %d P%s, to stop: %.3f+%.3f "
      "ms\n",
      static_cast<unsigned long long>(t.number),
      static_cast<double>(t.begun_ns - gc.started_ns) / 1e9, percent, Millis(t.start_ns),
      Millis(t.beside_ns), Millis(t.end_ns), Millis(t.start_ns * procs), Millis(t.assist_ns),
      Millis(t.background_ns), Millis(t.idle_ns), Millis(t.end_ns * procs),
      static_cast<unsigned long long>(t.before >> 20),
      static_cast<unsigned long long>(t.at_end >> 20),
      static_cast<unsigned long long>(t.live >> 20), static_cast<unsigned long long>(t.goal >> 20),
      procs, t.forced ? " (forced)" : "", Millis(t.start_stopping_ns), Millis(t.end_stopping_ns));
  base::RawWrite(2, std::string_view(line, static_cast<size_t>(std::max(0, n))));
}

// A pause: asked for at t0, complete at t1, over at t2.
void CountPause(int64_t t0, int64_t t1, int64_t t2) {
  gc.stopping_ns.store(t1 - t0, std::memory_order_relaxed);
  gc.stopped_ns.store(t2 - t1, std::memory_order_relaxed);
  Raise(gc.max_stopping_ns, t1 - t0);
  Raise(gc.max_stopped_ns, t2 - t1);
  gc.total_stopped_ns.fetch_add(t2 - t0, std::memory_order_relaxed);
  const uint64_t n = gc.pause_count.load(std::memory_order_relaxed) + 1;
  gc.pauses[n % kPauses].stopping_ns.store(t1 - t0, std::memory_order_relaxed);
  gc.pauses[n % kPauses].stopped_ns.store(t2 - t1, std::memory_order_relaxed);
  gc.pause_count.store(n, std::memory_order_release);  // pairs with RecentPauses()
}

// Before the world is stopped for a cycle's beginning.
void Prepare(World& world) {
  while (alloc::SweepSome(256)) {
  }
  gc.heap_limit.store(world.HeapLimit(alloc::GetCollectedStats().held), std::memory_order_relaxed);
}

void Tell(World& world, Pressure pressure) {
  if (internal::NotePressure(pressure) && !world.BeginCleanups(&internal::TellPressure)) {
    internal::PressureUntold();
  }
}

void RunCleanups() {
  // Before it looks what there is: who queues more from now on begins another.
  gc.cleanups_due.store(false, std::memory_order_seq_cst);
  internal::RunQueued();
}

void EndCycle(World& world, uint64_t number, bool forced) {
  world.Note(Stage::kEnded, number);
  if (forced) gc.forced.fetch_add(1, std::memory_order_relaxed);
  gc.ended_ns.store(world.NowNanos(), std::memory_order_relaxed);
  gc.ended.store(number, std::memory_order_release);
  gc.running.store(false, std::memory_order_release);  // pairs with TryBegin()
  // Also where those that a cycle before left are not done: one of them may block for long. Without
  // a goroutine the next cycle tries again.
  // seq_cst: what Judge queued, in the stopped world before, is there before the flag is looked at.
  if (internal::HasQueued() && !gc.cleanups_due.exchange(true, std::memory_order_seq_cst) &&
      !world.BeginCleanups(&RunCleanups)) {
    gc.cleanups_due.store(false, std::memory_order_release);
  }
  Tell(world, gc.pressure.load(std::memory_order_relaxed));
  world.Sweep();
}

// Requires: this goroutine has set gc.running.
void RunStopped(bool forced) {
  World& world = TheWorld();
  const uint64_t number = gc.begun.fetch_add(1, std::memory_order_acq_rel) + 1;
  world.Note(Stage::kBegun, number);
  Prepare(world);
  MakeHelpers(world);
  const int64_t t0 = world.NowNanos();
  world.Stop(StopFor::kWhole);
  const int64_t t1 = world.NowNanos();
  const alloc::CollectedStats s = alloc::GetCollectedStats();
  const uint64_t before = s.live_after_mark + s.since_mark;
  const uint64_t goal = gc.goal.load(std::memory_order_relaxed);
  Cycle cycle{&world, before};
  SpillAnd(cycle, &MarkAll);
  const uint64_t taken = s.span_bytes > before ? s.span_bytes - before : 0;
  Plan(cycle.live_bytes, taken);
  gc.live_objects.store(cycle.live_objects, std::memory_order_relaxed);
  world.Note(Stage::kMarked, number);
  const int64_t t2 = world.NowNanos();
  CountPause(t0, t1, t2);
  world.Start();
  EndCycle(world, number, forced);
  if (gc.trace) {
    Trace({number, forced, t0, t1 - t0, 0, t2 - t1, t1 - t0, 0, 0, 0, 0, before, before,
           cycle.live_bytes, goal},
          world);
  }
}

// --- A mark beside the program: DESIGN.md, whose numbers are cited here.

// A fault: interrupted mutators are scanned as all others.
class SlotsMissed final : public RangeSink {
 public:
  explicit SlotsMissed(RangeSink& to) : to_(to) {}
  void Scan(uintptr_t lo, uintptr_t hi) override { to_.Scan(lo, hi); }

 private:
  RangeSink& to_;
};

// Its start, with the world stopped: the snapshot.
void TakeRoots(Cycle& cycle) {
  alloc::BeginMark();
  if (gc.verify) alloc::CheckCollectedInvariants();
  alloc::SetAllocateBlack(gc.fault != Fault::kAllocatesWhite);
  gc.crew.Open([] { return TheWorld().Procs() == 1; });
  internal::SetBarrierFault(gc.fault == Fault::kNoBarrier   ? internal::BarrierFault::kSilent
                            : gc.fault == Fault::kShadesNew ? internal::BarrierFault::kShadesNew
                            : gc.fault == Fault::kShadedNotScanned
                                ? internal::BarrierFault::kNotScanned
                                : internal::BarrierFault::kNone);
  internal::OpenBarrier();  // before the roots are looked at: see Kept()
  gc.crew.WithEmptyMarker(
      [](internal::Marker& marker, void* arg) {
        SlotsMissed missed(marker);
        marker.KeepWords(true);
        VisitAllRoots(
            arg,
            [](uintptr_t address, void* to) { static_cast<internal::Marker*>(to)->Root(address); },
            &marker,
            gc.fault == Fault::kInterruptedMissed ? static_cast<RangeSink&>(missed) : marker);
        marker.KeepWords(false);
        while (gc.fault == Fault::kKeptLost && !marker.stack().empty()) (void)marker.stack().Pop();
      },
      &cycle);
  // After the marker: a thread that is not attached may delete a root meanwhile, and what only that
  // one kept is garbage if the marker came later. Of one that it makes Kept() leaves a note.
  if (gc.checkmark) internal::TakeSnapshot(&VisitAllRoots, &cycle);
}

bool TryEndMark();

// Counts one more of those that mark in the background, if there may be one more.
bool JoinMarkers(World& world) {
  constexpr int kMost = 8;
  const int wanted = gc.markers > 0 ? gc.markers : std::min(world.Procs(), kMost);
  // seq_cst: see MarkInBackground
  int n = gc.background.load(std::memory_order_seq_cst);
  while (n < wanted) {
    if (gc.background.compare_exchange_weak(n, n + 1, std::memory_order_seq_cst)) return true;
  }
  return false;
}

void MarkUntilOver(World& world, uint64_t number) {
  // A step is about 100 us; in one that took longer than this the thread had no CPU: the kernel
  // throttled it, or ran others.
  constexpr int64_t kMostNs = 2'000'000;
  constexpr int64_t kLookAgainNs = 10'000'000;  // others may have ended the mark
  const auto over = [number] { return gc.ended.load(std::memory_order_acquire) >= number; };
  // A turn is a third of what it waited for it, which makes a quarter of a P that many want. Nobody
  // waits for a marker for longer than the most, and one step.
  constexpr int64_t kTurnNs = 1'000'000;
  constexpr int64_t kMostTurnNs = 10'000'000;
  int64_t turn_ns = world.NowNanos();
  int64_t turn_for_ns = kTurnNs;
  while (!over()) {
    if (gc.phase.load(std::memory_order_acquire) != Phase::kMarking) {
      world.AwaitWork();
      continue;
    }
    const int64_t t0 = world.NowNanos();
    const int64_t spent = gc.background_ns.load(std::memory_order_relaxed) - gc.mark.background_ns;
    const double cpus = world.Cpus();
    const int64_t paid_at =
        gc.mark.marking_ns + static_cast<int64_t>(static_cast<double>(spent) * 4 / cpus);
    const bool had_its_share = paid_at >= t0;
    if (had_its_share && cpus < world.Procs()) {
      world.AwaitShare(std::min(paid_at, t0 + kLookAgainNs));
      turn_ns = world.NowNanos();
      continue;
    }
    if (world.GiveWay(had_its_share || t0 - turn_ns >= turn_for_ns)) {
      turn_ns = world.NowNanos();
      turn_for_ns = std::clamp((turn_ns - t0) / 3, kTurnNs, kMostTurnNs);
      continue;
    }
    if (!gc.crew.Step(gc.step_bytes)) {
      if (!TryEndMark()) world.AwaitWork();
      continue;
    }
    (had_its_share ? gc.idle_ns : gc.background_ns)
        .fetch_add(std::min(world.NowNanos() - t0, kMostNs), std::memory_order_relaxed);
  }
}

// A goroutine that marks for the collector, until the mark is over. One that came to run late
// serves the mark that it finds: where cycles follow each other faster than goroutines get their
// turn there are never more than JoinMarkers lets in.
void MarkInBackground() {
  World& world = TheWorld();
  uint64_t number;
  do {
    number = gc.begun.load(std::memory_order_seq_cst);
    MarkUntilOver(world, number);
    gc.background.fetch_sub(1, std::memory_order_seq_cst);
    // The next cycle has begun: it counted on this one, or begins another. seq_cst: it raises
    // `begun` and reads `background`, we write `background` and read `begun`.
  } while (gc.begun.load(std::memory_order_seq_cst) != number && JoinMarkers(world));
}

// Requires: this goroutine has set gc.running.
void BeginBeside(bool forced) {
  World& world = TheWorld();
  Beside& mark = gc.mark;
  const uint64_t number = gc.begun.fetch_add(1, std::memory_order_seq_cst) + 1;
  world.Note(Stage::kBegun, number);
  Prepare(world);
  const int64_t t0 = world.NowNanos();
  world.Stop(StopFor::kStart);
  const int64_t t1 = world.NowNanos();
  const alloc::CollectedStats s = alloc::GetCollectedStats();
  Cycle cycle{&world, s.live_after_mark + s.since_mark};
  SpillAnd(cycle, &TakeRoots);
  mark.number = number;
  mark.forced = forced;
  mark.begun_ns = t0;
  mark.heap_bytes = cycle.heap_bytes;
  mark.since_mark = alloc::BytesSinceMark();
  mark.goal = gc.goal.load(std::memory_order_relaxed);
  mark.taken = s.span_bytes > cycle.heap_bytes ? s.span_bytes - cycle.heap_bytes : 0;
  // What was live is likely to be live again; of a first cycle nothing is known.
  mark.work = s.live_after_mark > 0 ? s.live_after_mark : cycle.heap_bytes;
  mark.background_ns = gc.background_ns.load(std::memory_order_relaxed);
  mark.idle_ns = gc.idle_ns.load(std::memory_order_relaxed);
  mark.assist_ns = gc.assist_ns.load(std::memory_order_relaxed);
  const int64_t t2 = world.NowNanos();
  mark.start_ns = t2 - t0;
  mark.stopping_ns = t1 - t0;
  mark.marking_ns = t2;
  CountPause(t0, t1, t2);
  gc.phase.store(Phase::kMarking, std::memory_order_release);
  world.Start();
  while (JoinMarkers(world)) {
    if (world.Begin(&MarkInBackground)) continue;
    // No memory for a goroutine: this one marks, for this cycle and uncounted, unless others do.
    // (Of two that come here at once the second to go is alone.)
    if (gc.background.fetch_sub(1, std::memory_order_seq_cst) == 1) MarkUntilOver(world, number);
    return;
  }
}

// In the stopped world of an end: true when everything is marked.
bool MarkTheRest(size_t budget) {
  // (5): who is within a step holds grey objects.
  if (gc.crew.Busy()) return false;
  internal::CloseBarrier();
  for (; budget > 0; budget -= std::min(budget, gc.step_bytes)) {
    if (!gc.crew.Step(gc.step_bytes) && gc.crew.Done()) return true;
  }
  if (gc.crew.Done()) return true;
  internal::ReopenBarrier();
  return false;
}

// Ends the mark if nothing is grey any more. False: there is more to do, or another ends it.
bool TryEndMark() {
  if (gc.phase.load(std::memory_order_acquire) != Phase::kMarking || !gc.crew.Done()) return false;
  if (gc.ending.exchange(true, std::memory_order_acq_rel)) return false;
  World& world = TheWorld();
  // Another may have ended it, and the next have begun.
  if (gc.phase.load(std::memory_order_acquire) != Phase::kMarking || !gc.crew.Done()) {
    gc.ending.store(false, std::memory_order_release);
    return false;
  }
  const Beside mark = gc.mark;
  internal::FindCandidates();
  constexpr size_t kBudget = 256 << 10;
  for (int attempt = 0;; ++attempt) {
    const int64_t t0 = world.NowNanos();
    world.Stop(StopFor::kEnd);
    const int64_t t1 = world.NowNanos();
    // More each time: it comes to an end, whatever the program does.
    if (!MarkTheRest(kBudget << std::min(attempt, 20))) {
      gc.restarts.fetch_add(1, std::memory_order_relaxed);
      CountPause(t0, t1, world.NowNanos());
      world.Start();
      while (!gc.crew.Done()) {
        if (!gc.crew.Step(gc.step_bytes)) world.AwaitWork();
      }
      continue;
    }
    alloc::FlushCaches();
    const uint64_t allocated = alloc::BytesSinceMark() - mark.since_mark;
    const internal::Shaded shaded = internal::ShadedTotal();
    if (gc.checkmark) {
      internal::CheckSnapshot();
      internal::CheckMarks(
          [](void*, void (*on_root)(uintptr_t, void*), void* to, RangeSink&) {
            // Of what is not precise a snapshot is the only measure.
            struct Nothing final : RangeSink {
              void Scan(uintptr_t, uintptr_t) override {}
            } nothing;
            internal::VisitRoots(on_root, to, nothing);
          },
          nullptr);
    }
    const internal::Judged judged = internal::Judge(/*search=*/false, gc.verify);
    if (gc.verify) Verify();
    const uint64_t live = gc.crew.marked_bytes() + shaded.bytes + allocated + judged.bytes;
    gc.live_objects.store(
        gc.crew.marked_objects() + shaded.objects + alloc::BlackObjects() + judged.objects,
        std::memory_order_relaxed);
    alloc::EndMark(live);
    alloc::SetAllocateBlack(false);
    gc.allocated_beside.store(allocated, std::memory_order_relaxed);
    Plan(live, mark.taken);
    gc.phase.store(Phase::kOff, std::memory_order_release);
    world.Note(Stage::kMarked, mark.number);
    const int64_t t2 = world.NowNanos();
    CountPause(t0, t1, t2);
    const TraceLine line{mark.number,
                         mark.forced,
                         mark.begun_ns,
                         mark.start_ns,
                         t0 - mark.marking_ns,
                         t2 - t0,
                         mark.stopping_ns,
                         t1 - t0,
                         gc.assist_ns.load(std::memory_order_relaxed) - mark.assist_ns,
                         gc.background_ns.load(std::memory_order_relaxed) - mark.background_ns,
                         gc.idle_ns.load(std::memory_order_relaxed) - mark.idle_ns,
                         mark.heap_bytes,
                         mark.heap_bytes + allocated,
                         live,
                         mark.goal};
    world.Start();
    gc.ending.store(false, std::memory_order_release);
    EndCycle(world, mark.number, mark.forced);
    if (gc.trace) Trace(line, world);
    return true;
  }
}

// Keeps who allocates from outrunning the mark: bytes marked keep pace with bytes allocated, such
// that all is marked when the goal is reached. Who is about to take memory for objects of
// `object_bytes` marks so much at most, and far beyond the goal waits so long at most, that it is
// held up for a few ms and no more for a few KiB: what one takes beyond the goal is then a 256th of
// what there was to mark. A quarter beyond it marks or waits until the mark's end.
void Assist(size_t object_bytes) {
  World& world = TheWorld();
  constexpr uint64_t kPiece = 4 << 10;
  constexpr uint64_t kMarkPerPiece = 256 << 10;
  constexpr uint64_t kMarkFarBeyond = 1 << 20;
  constexpr int64_t kWaitPerPieceNs = 1'000'000;
  // A refill is of 64 objects or as many as a span has.
  constexpr uint64_t kSpan = 64 << 10;
  const uint64_t taken =
      std::max<uint64_t>(object_bytes, std::min<uint64_t>(64 * object_bytes, kSpan));
  const uint64_t pieces = std::max<uint64_t>(1, taken / kPiece);
  const Beside& mark = gc.mark;  // as it is while the phase is kMarking
  const uint64_t number = mark.number;
  const uint64_t runway =
      std::max(mark.goal > mark.heap_bytes ? mark.goal - mark.heap_bytes : 0, uint64_t{256} << 10);
  // What a step takes depends on what hangs by what it scans.
  constexpr int64_t kMarkPerPieceNs = 300'000;
  // In one that took longer the caller was stopped, at its end, while others had their turns: of
  // those it is not told.
  constexpr int64_t kStoppedNs = 1'000'000;
  constexpr int64_t kUsualStepNs = 100'000;
  int64_t marked_ns = 0;
  int64_t waited_ns = 0;
  for (uint64_t steps = 0; gc.phase.load(std::memory_order_acquire) == Phase::kMarking &&
                           gc.ended.load(std::memory_order_acquire) < number;) {
    const uint64_t allocated = alloc::BytesSinceMark() - mark.since_mark;
    const bool far_beyond = mark.goal != UINT64_MAX && allocated > runway + runway / 8;
    // Very many who allocate while few can mark: there is no end to it but the mark's.
    const bool at_the_end = far_beyond && allocated > runway + runway / 4;
    if (allocated < runway) {
      const double due = static_cast<double>(mark.work) * static_cast<double>(allocated) /
                         static_cast<double>(runway);
      if (static_cast<double>(gc.crew.marked_bytes()) >= due) break;
    }
    if (!at_the_end &&
        (steps * gc.step_bytes >= pieces * (far_beyond ? kMarkFarBeyond : kMarkPerPiece) ||
         marked_ns >= static_cast<int64_t>(pieces) * kMarkPerPieceNs)) {
      break;
    }
    const int64_t began = world.NowNanos();
    if (gc.crew.Step(gc.step_bytes)) {
      ++steps;
      const int64_t took = world.NowNanos() - began;
      marked_ns += took;
      gc.assist_ns.fetch_add(took < kStoppedNs ? took : kUsualStepNs, std::memory_order_relaxed);
      continue;
    }
    if (TryEndMark() || !far_beyond ||
        (!at_the_end && waited_ns >= static_cast<int64_t>(pieces) * kWaitPerPieceNs)) {
      break;
    }
    // Others hold what is left.
    const int64_t from = world.NowNanos();
    world.AwaitWork();
    waited_ns += world.NowNanos() - from;
  }
}

// Requires: this goroutine has set gc.running.
void RunCycle(bool forced) {
  if (MarksBeside()) {
    BeginBeside(forced);
  } else {
    RunStopped(forced);
  }
}

bool TryBegin() { return !gc.running.exchange(true, std::memory_order_acq_rel); }

// Of who has set gc.running, and finds that a cycle between its look and that was what it wanted.
void BeginNone() { gc.running.store(false, std::memory_order_release); }

bool IsDue() {
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(gc.plan_mu);
  return alloc::BytesSinceMark() >= gc.trigger;
}

void OnTrigger(size_t object_bytes) {
  if (gc.phase.load(std::memory_order_acquire) == Phase::kMarking) {
    Assist(object_bytes);
    return;
  }
  if (TryBegin()) {
    if (IsDue()) {
      RunCycle(false);
    } else {
      BeginNone();
    }
    return;
  }
  // Another runs the cycle, and the kernel may not let it run while it lets us: an eighth beyond
  // the goal is what there is until it has stopped the world.
  const uint64_t ended = gc.ended.load(std::memory_order_acquire);
  const uint64_t room = gc.room.load(std::memory_order_relaxed);
  while (alloc::BytesSinceMark() / 9 >= room / 8 &&
         gc.ended.load(std::memory_order_acquire) == ended &&
         gc.phase.load(std::memory_order_acquire) == Phase::kOff &&
         gc.running.load(std::memory_order_acquire)) {
    TheWorld().Yield();
  }
}

}  // namespace

void Start(World& world, const Options& options) {
  PLIMSOLL_CHECK(gc.world.load(std::memory_order_relaxed) == nullptr, "gc::Start was called twice");
  gc.gogc.store(options.gogc, std::memory_order_relaxed);
  gc.trace = options.trace;
  gc.checkmark = options.checkmark;
  gc.verify = options.verify;
  gc.markers = options.markers;
  gc.beside = options.beside;
  gc.step_bytes = options.step_bytes;
  gc.share_from = options.share_from;
  if (options.fault != nullptr) {
    internal::SetFault(internal::FaultByName(options.fault));
    PLIMSOLL_CHECK(gc.fault != Fault::kNone, "gcfault=", base::Quoted{options.fault},
                   " is no fault");
  }
  gc.started_ns = world.NowNanos();
  gc.ended_ns.store(gc.started_ns, std::memory_order_relaxed);
  gc.world.store(&world, std::memory_order_release);
  alloc::SetCollectedHooks({.check = [] { TheWorld().CheckMutator(); },
                            .need_cache = [] { TheWorld().NeedCache(); },
                            .trigger = &OnTrigger});
  // The first cycle, too, comes by the limit: with GOGC=off by nothing else.
  gc.heap_limit.store(world.HeapLimit(alloc::GetCollectedStats().held), std::memory_order_relaxed);
  alloc::SlowPath no_preempt;
  Plan(0, 0);
}

void Collect() {
  World& world = TheWorld();
  // It marks, as goroutines do: with one P without locked instructions.
  world.CheckMutator();
  // One that runs already may have missed what this caller has just let go.
  const uint64_t begun = gc.begun.load(std::memory_order_acquire);
  while (gc.ended.load(std::memory_order_acquire) <= begun) {
    if (gc.phase.load(std::memory_order_acquire) == Phase::kMarking) {
      // Who waits for it marks.
      if (!gc.crew.Step(gc.step_bytes) && !TryEndMark()) world.AwaitWork();
    } else if (TryBegin()) {
      // acquire: `ended` is what the last one left.
      if (gc.ended.load(std::memory_order_acquire) > begun) {
        BeginNone();
      } else {
        RunCycle(true);
      }
    } else {
      world.Yield();
    }
  }
}

bool CollectIfOld(int64_t ns) {
  World& world = TheWorld();
  world.CheckMutator();
  // Who never used the heap is not stopped for it.
  if (gc.gogc.load(std::memory_order_relaxed) < 0 || alloc::GetCollectedStats().span_bytes == 0 ||
      world.NowNanos() - gc.ended_ns.load(std::memory_order_relaxed) < ns || !TryBegin()) {
    return false;
  }
  RunCycle(false);
  return true;
}

void LimitChanged() {
  World& world = TheWorld();
  const alloc::CollectedStats s = alloc::GetCollectedStats();
  const uint64_t limit = world.HeapLimit(s.held);
  {
    alloc::SlowPath no_preempt;
    base::SpinLockHolder hold(gc.plan_mu);
    gc.heap_limit.store(limit, std::memory_order_relaxed);
    Replan();
    if (s.span_bytes <= limit && alloc::BytesSinceMark() < gc.trigger) return;
  }
  // Where one runs already its end plans by the new limit.
  if (s.span_bytes > 0 && world.IsMutator() && TryBegin()) RunCycle(false);
}

void MeasureLimit() {
  const uint64_t limit = TheWorld().HeapLimit(alloc::GetCollectedStats().held);
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(gc.plan_mu);
  gc.heap_limit.store(limit, std::memory_order_relaxed);
  Replan();
}

void external_bytes(int64_t change) {
  World& world = TheWorld();
  {
    alloc::SlowPath no_preempt;
    base::SpinLockHolder hold(gc.plan_mu);
    if (__builtin_add_overflow(gc.external, change, &gc.external)) {
      base::Fatal("gc: external_bytes: 2^63 bytes or more were told of");
    }
    if (gc.external < 0) {
      base::Fatal("gc: external_bytes: ", -static_cast<uint64_t>(gc.external),
                  " bytes were taken back that nobody told of");
    }
    gc.external_kept = std::min(gc.external_kept, gc.external);
    Replan();
    if (change <= 0 || alloc::BytesSinceMark() < gc.trigger) return;
  }
  // Where it cannot begin a cycle the next allocation does.
  if (world.IsMutator()) OnTrigger(0);
}

bool free_now(const void* p) {
  if (p == nullptr) return false;
  World& world = TheWorld();
  world.CheckMutator();
  // From the first look on: what nothing else holds could be freed by a cycle in between, and its
  // place be another's.
  alloc::SlowPath no_preempt;
  const auto address = reinterpret_cast<uintptr_t>(p);
  alloc::Object o;
  if (!alloc::FindObject(address, &o)) {
    base::Fatal("gc: free_now of ", base::Hex(p),
                ", which is no object of the collected heap, or was freed");
  }
  if (o.base() != address) {
    base::Fatal("gc: free_now of ", base::Hex(p), ", which is within the object at ",
                base::Hex(o.base()));
  }
  if (internal::HasAfterlife(address)) return false;
  if (gc.verify) {
    struct None final : RangeSink {
      void Scan(uintptr_t, uintptr_t) override {}
    } none;
    internal::VisitRoots(
        [](uintptr_t word, void* object) {
          alloc::Object held;
          if (alloc::FindObject(word, &held) && held == *static_cast<alloc::Object*>(object)) {
            base::Fatal("gc: free_now of ", base::Hex(held.base()),
                        ", which a gc::Root or gc::Global holds");
          }
        },
        &o, none);
  }
  return alloc::FreeCollected(o);
}

int SetGoGc(int percent) {
  const int old = gc.gogc.exchange(percent, std::memory_order_relaxed);
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(gc.plan_mu);
  Replan();
  return old;
}

Stats GetStats() {
  const alloc::CollectedStats a = alloc::GetCollectedStats();
  Stats s;
  s.cycles = gc.ended.load(std::memory_order_acquire);
  s.forced = gc.forced.load(std::memory_order_relaxed);
  s.live_bytes = a.live_after_mark;
  s.live_objects = gc.live_objects.load(std::memory_order_relaxed);
  s.heap_bytes = a.live_after_mark + a.since_mark;
  s.goal_bytes = gc.goal.load(std::memory_order_relaxed);
  s.limit_bytes = gc.heap_limit.load(std::memory_order_relaxed);
  s.allocated_bytes = a.allocated_total;
  s.span_bytes = a.span_bytes;
  s.roots = internal::RootCount();
  s.stopping_ns = gc.stopping_ns.load(std::memory_order_relaxed);
  s.max_stopping_ns = gc.max_stopping_ns.load(std::memory_order_relaxed);
  s.stopped_ns = gc.stopped_ns.load(std::memory_order_relaxed);
  s.max_stopped_ns = gc.max_stopped_ns.load(std::memory_order_relaxed);
  s.total_stopped_ns = gc.total_stopped_ns.load(std::memory_order_relaxed);
  s.background_ns = gc.background_ns.load(std::memory_order_relaxed);
  s.idle_ns = gc.idle_ns.load(std::memory_order_relaxed);
  s.assist_ns = gc.assist_ns.load(std::memory_order_relaxed);
  s.restarts = gc.restarts.load(std::memory_order_relaxed);
  s.pressure = gc.pressure.load(std::memory_order_relaxed);
  {
    alloc::SlowPath no_preempt;
    base::SpinLockHolder hold(gc.plan_mu);
    s.external_bytes = static_cast<uint64_t>(gc.external);
  }
  const internal::AfterlifeStats afterlife = internal::GetAfterlifeStats();
  s.weak = afterlife.weak;
  s.cleanups = afterlife.cleanups;
  s.finalized = afterlife.destructors;
  s.queued = afterlife.queued;
  s.run = afterlife.done;
  s.resurrected = afterlife.resurrected;
  return s;
}

size_t RecentPauses(Pause* pauses, size_t n) {
  const uint64_t last = gc.pause_count.load(std::memory_order_acquire);
  const size_t have = std::min({n, static_cast<size_t>(last), kPauses});
  for (size_t i = 0; i < have; ++i) {
    const auto& pause = gc.pauses[(last - i) % kPauses];
    pauses[i] = {pause.stopping_ns.load(std::memory_order_relaxed),
                 pause.stopped_ns.load(std::memory_order_relaxed)};
  }
  return have;
}

namespace internal {

World& JoinedWorld() { return TheWorld(); }

void LastResort() {
  Tell(TheWorld(), Pressure::kCritical);
  Collect();
  while (alloc::SweepSome(SIZE_MAX)) {
  }
}

void SetFault(Fault fault) {
  gc.fault = fault;
  SetAfterlifeFault(fault == Fault::kWeakNotShaded      ? AfterlifeFault::kNotShaded
                    : fault == Fault::kWeakNotForgotten ? AfterlifeFault::kNotForgotten
                    : fault == Fault::kDeadNotNulled    ? AfterlifeFault::kNotNulled
                                                        : AfterlifeFault::kNone);
}

namespace {

[[noreturn]] void ReportUnscanned(const void* self) {
  base::Fatal("gc: a gc::Ptr at ", base::Hex(self),
              " is in memory that the collector does not scan: use gc::Root or gc::Global");
}

}  // namespace

void ProbeMutator() {
  if (World* world = gc.world.load(std::memory_order_acquire)) world->CheckMutator();
}

void ProbePtr(const void* self) {
  World* world = gc.world.load(std::memory_order_acquire);
  if (world == nullptr) return;  // a static's constructor, or a test without a collector
  const auto at = reinterpret_cast<uintptr_t>(self);
  alloc::Object o;
  if (!alloc::FindObject(at, &o)) {
    if (world->OnStack(self) || InRange(at)) return;
    ReportUnscanned(self);
  }
  const alloc::Layout& layout = o.span->shape->layout;
  if (layout.kind == alloc::Layout::Kind::kTraced) return;
  const uintptr_t word = (at - o.base()) / sizeof(uintptr_t);
  const uintptr_t in_element = word % layout.element_words;
  if (layout.kind == alloc::Layout::Kind::kMask && at % sizeof(uintptr_t) == 0 &&
      (layout.mask[in_element / 64] >> (in_element % 64) & 1) != 0) {
    return;
  }
  base::Fatal("gc: a gc::Ptr at word ", word, " of a ", o.bytes(), "-byte ", layout.name,
              " is not in its GC_FIELDS");
}

void ProbeTarget(const void* target) {
  if (target == nullptr) return;
  World* world = gc.world.load(std::memory_order_acquire);
  if (world == nullptr) return;
  alloc::Object o;
  if (alloc::FindObject(reinterpret_cast<uintptr_t>(target), &o)) return;
  base::Fatal("gc: a gc::Ptr or gc::Root is to hold ", base::Hex(target),
              ", which is no object of the collected heap");
}

void ProbeRoot(const void* self) {
  alloc::Object o;
  if (!alloc::FindObject(reinterpret_cast<uintptr_t>(self), &o)) return;
  base::Fatal("gc: a gc::Root at ", base::Hex(self), " is in a collected ",
              o.span->shape->layout.name, ": use gc::Ptr");
}

}  // namespace internal
}  // namespace plimsoll::gc
