// Trimming of parked goroutines' stacks. The protocol is DESIGN.md's section "Trimming parked
// stacks"; its numbers are cited here.

#include "plimsoll/runtime/sched/trim.h"

#include <memory>
#include <optional>

#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/stop_world.h"
#include "plimsoll/runtime/sched/trim_schedule.h"
#include "plimsoll/runtime/stack/touched_pages.h"

namespace plimsoll::sched {
namespace {

constexpr int64_t kPauseNs = 1'000'000'000;  // between two looks of a round
constexpr size_t kWorthBytes = 16 << 10;     // what a stop of the world is made for
constexpr int kStacksAStep = 256;            // a step of a look: at most one slab
constexpr size_t kPagesAStep = 16384;
constexpr int kStepsAtOnce = 2;  // before sysmon looks at the Ps again: a quarter of a millisecond
constexpr int kStepsALook = 8;
constexpr int kBatch = 2 * kStacksAStep;
constexpr int kStacksAStop = 64;
constexpr size_t kBytesAStop = 4 << 20;  // half a millisecond: a page costs 0.4 us to give back

// A goroutine whose stack has memory from `lowest` on that it seems not to use.
struct Candidate {
  G* g;
  uintptr_t lowest;
};

// What a goroutine's fields say while others may write them: a hint, by (1).
struct Hint {
  bool stays_on_no_thread;
  int64_t waiting_since_ns;
  uintptr_t sp;
};

// Uninstrumented: whatever is read here is looked at again, by (1).
__attribute__((noinline, no_sanitize("address", "thread"))) Hint HintOf(const G* g) {
  const auto locks = *static_cast<const volatile int32_t*>(&g->locks);
  M* const bound_m = *static_cast<M* const volatile*>(&g->bound_m);
  const auto sticky = *static_cast<const volatile bool*>(&g->is_sticky);
  // Its slot is a g0's stack.
  const auto attached = *static_cast<const volatile bool*>(&g->is_attached);
  const auto since = *static_cast<const volatile int64_t*>(&g->waiting_since_ns);
  void* const sp = *static_cast<void* const volatile*>(&g->sp);
  return {.stays_on_no_thread = locks == 0 && bound_m == nullptr && !sticky && !attached,
          .waiting_since_ns = since,
          .sp = reinterpret_cast<uintptr_t>(sp)};
}

// Goes over all stacks and finds those that are worth a stop. Some 40 KiB.
class Finder {
 public:
  // False: the kernel does not tell what is touched.
  bool Begin() {
    walk_ = {};
    left_behind_ = false;
    pages_.emplace();
    return pages_->source() != stack::TouchedPages::Source::kNone;
  }
  void End() { pages_.reset(); }

  // Looks at the next stacks. False: there are no more. Finds at most kStacksAStep.
  bool Step(int64_t now, int64_t parked_ns, Candidate* out, int* n) {
    const int count = sched.stacks.NextSlots(walk_, step_, kStacksAStep);
    if (count == 0) return false;
    const uintptr_t lo = step_[0].lo;
    const size_t pages = (step_[count - 1].hi - lo) / page_;
    if (pages > kPagesAStep) {  // one by itself, of more than 64 MiB
      const uintptr_t lowest = LowestOfBig(step_[0]);
      if (lowest < step_[0].hi) Consider(step_[0], lowest, nullptr, now, parked_ns, out, n);
      return true;
    }
    if (!pages_->Fill(lo, pages, touched_)) return true;
    for (int i = 0; i < count; ++i) {
      const stack::Stack& s = step_[i];
      const unsigned char* touched = touched_ + (s.lo - lo) / page_;
      size_t at = s.guarded ? 0 : 1;  // the canary's page
      const size_t end = (s.hi - kWorthBytes - s.lo) / page_;
      while (at < end && touched[at] == 0) ++at;
      // One that was never deep is not even read.
      if (at < end) Consider(s, s.lo + at * page_, touched, now, parked_ns, out, n);
    }
    return true;
  }

  // Whether there were goroutines that would have been found had they been parked for longer.
  bool left_behind() const { return left_behind_; }

 private:
  uintptr_t LowestOfBig(const stack::Stack& s) {
    uintptr_t at = s.guarded ? s.lo : s.lo + page_;
    while (at < s.hi) {
      const size_t left = (s.hi - at) / page_;
      const size_t n = left < kPagesAStep ? left : kPagesAStep;
      if (!pages_->Fill(at, n, touched_)) return s.hi;
      for (size_t i = 0; i < n; ++i) {
        if (touched_[i] != 0) return at + i * page_;
      }
      at += n * page_;
    }
    return s.hi;
  }

  // `touched`: of each page of the stack; null: taken to be all from `lowest` on.
  void Consider(const stack::Stack& s, uintptr_t lowest, const unsigned char* touched, int64_t now,
                int64_t parked_ns, Candidate* out, int* n) {
    G* g = GOfStack(s);
    if (g->status.load(std::memory_order_relaxed) != GStatus::kWaiting) return;
    const Hint hint = HintOf(g);
    uintptr_t lo, hi;
    stack::StackPool::TrimRange(s, hint.sp, &lo, &hi);
    if (!hint.stays_on_no_thread || hi <= lowest) return;
    size_t pages = touched == nullptr ? (hi - lowest) / page_ : 0;
    for (uintptr_t at = lowest; touched != nullptr && at < hi; at += page_) {
      pages += touched[(at - s.lo) / page_];
    }
    if (pages * page_ < kWorthBytes) return;
    if (now - hint.waiting_since_ns < parked_ns) {
      left_behind_ = true;
    } else {
      out[(*n)++] = {g, lowest};
    }
  }

  const uintptr_t page_ = stack::PageBytes();
  stack::StackPool::Walk walk_;
  bool left_behind_ = false;
  std::optional<stack::TouchedPages> pages_;
  stack::Stack step_[kStacksAStep];
  unsigned char touched_[kPagesAStep];
};

constinit std::atomic<uint64_t> rounds{0}, stops{0}, stacks_trimmed{0}, bytes_trimmed{0};
// The kernel does not tell what is touched, or keeps it: memory is locked.
constinit std::atomic<bool> refused{false};

// In a stopped world: gives back at most `most` bytes of the candidate. True: that was all.
bool TrimStopped(Candidate& c, int64_t now, int64_t parked_ns, size_t most, size_t* bytes) {
  G* g = c.g;
  // acquire: as in ForEachG
  if (g->status.load(std::memory_order_acquire) != GStatus::kWaiting) return true;  // by (2)
  if (g->locks != 0 || g->bound_m != nullptr || g->is_sticky || g->is_attached) return true;
  if (now - g->waiting_since_ns < parked_ns) return true;
  // How deep it has been outlives the pages that tell.
  const uint64_t depth = g->stack.hi - c.lowest;
  if (g->trimmed_id != g->id || g->trimmed_depth < depth) g->trimmed_depth = depth;
  g->trimmed_id = g->id;
  const long gone = sched.stacks.Trim(g->stack, c.lowest, reinterpret_cast<uintptr_t>(g->sp), most);
  if (gone < 0) refused.store(true, std::memory_order_relaxed);
  if (gone <= 0) return true;
  stacks_trimmed.fetch_add(1, std::memory_order_relaxed);
  bytes_trimmed.fetch_add(static_cast<uint64_t>(gone), std::memory_order_relaxed);
  *bytes += static_cast<size_t>(gone);
  c.lowest += static_cast<size_t>(gone);
  return static_cast<size_t>(gone) < most;
}

// On a goroutine.
void TrimBatch(Candidate* batch, int n, int64_t parked_ns) {
  for (int done = 0; done < n;) {
    StopTheWorld(StopReason::kTrim);
    stops.fetch_add(1, std::memory_order_relaxed);
    const int64_t now = NowNanos();
    const int end = done + kStacksAStop < n ? done + kStacksAStop : n;
    for (size_t bytes = 0; done < end && bytes < kBytesAStop;) {
      if (TrimStopped(batch[done], now, parked_ns, kBytesAStop - bytes, &bytes)) ++done;
    }
    StartTheWorld();
    Yield();  // the next stop is not at once
  }
}

// --- Sysmon's part, and the goroutine that trims for it. The batch is sysmon's while there is no
// trimmer or it is parked, else the trimmer's: by (3).

constinit int64_t wanted_ns = 0;  // 0: sysmon does not trim. Written before it runs
constinit std::optional<TrimSchedule> schedule;
constinit std::atomic<G*> parked_trimmer{nullptr};
constinit bool trimmer_made = false;
Candidate batch[kBatch];
constinit int batch_size = 0;

bool PublishTrimmer(G* g, void*) {
  // release: pairs with the acquires of sysmon: the batch is its own again
  parked_trimmer.store(g, std::memory_order_release);
  return true;
}

void RunTrimmer() {
  CurrentG()->is_runtimes_own = true;
  for (;;) {
    TrimBatch(batch, batch_size, wanted_ns);
    Park(WaitReason::kSleep, PublishTrimmer, nullptr);
  }
}

bool BatchIsSysmons() {
  return !trimmer_made || parked_trimmer.load(std::memory_order_acquire) != nullptr;
}

// False: there is no memory for a goroutine.
bool HandToTrimmer() {
  if (trimmer_made) {
    Ready(parked_trimmer.exchange(nullptr, std::memory_order_acquire));
    return true;
  }
  auto run = [] { RunTrimmer(); };
  // It counts as one that has ended: it never does.
  sched.reaped.fetch_add(1, std::memory_order_relaxed);
  trimmer_made = internal::Spawn(internal::kEntryOps<decltype(run)>, &run, {});
  if (!trimmer_made) sched.reaped.fetch_sub(1, std::memory_order_relaxed);
  return trimmer_made;
}

Finder& SysmonsFinder() {
  // In pages that nobody touches before the first look; never destroyed.
  alignas(Finder) static char storage[sizeof(Finder)];
  static constinit Finder* finder = nullptr;
  if (finder == nullptr) finder = ::new (storage) Finder;
  return *finder;
}

}  // namespace

TrimStats GetTrimStats() {
  return {.rounds = rounds.load(std::memory_order_relaxed),
          .stops = stops.load(std::memory_order_relaxed),
          .stacks = stacks_trimmed.load(std::memory_order_relaxed),
          .bytes = bytes_trimmed.load(std::memory_order_relaxed)};
}

void TrimParkedStacks(int64_t parked_ns) {
  if (Seeded()) return;  // one thread and a clock of its own: nobody is parked for long
  const auto finder = std::make_unique<Finder>();
  const auto found = std::make_unique<Candidate[]>(kStacksAStep);
  if (!finder->Begin()) return;
  for (bool more = true; more;) {
    int n = 0;
    more = finder->Step(NowNanos(), parked_ns, found.get(), &n);
    TrimBatch(found.get(), n, parked_ns);
  }
}

void StartTrimming(int64_t parked_ns) {
  wanted_ns = parked_ns;
  schedule.emplace(parked_ns, parked_ns < kPauseNs ? parked_ns : kPauseNs);
}

int64_t LookForStacksToTrim(int64_t now, bool idle) {
  static constinit uint64_t taken_before = 0;
  static constinit int steps = 0;  // of this look
  if (wanted_ns == 0 || refused.load(std::memory_order_relaxed) || sched.frozen()) return -1;
  const uint64_t taken = sched.ps_taken.load(std::memory_order_relaxed);
  if (!idle || taken != taken_before) schedule->Ran(now);
  taken_before = taken;
  bool begins;
  // Before the batch is looked at: as long as no look is due, this is a comparison of two numbers.
  if (!schedule->Look(now, &begins)) return schedule->Wait(now);
  Finder& finder = SysmonsFinder();
  if (begins) {
    rounds.fetch_add(1, std::memory_order_relaxed);
    if (!finder.Begin()) {
      finder.End();
      refused.store(true, std::memory_order_relaxed);
      return -1;
    }
  }
  if (!BatchIsSysmons()) {
    schedule->Looked(now, /*over=*/false, /*again=*/false);
    return schedule->Wait(now);
  }
  if (steps == 0) batch_size = 0;
  bool more = true;
  for (int i = 0; i < kStepsAtOnce && more; ++i, ++steps) {
    if (batch_size > kBatch - kStacksAStep) break;
    more = finder.Step(now, wanted_ns, batch, &batch_size);
  }
  const bool full = batch_size > kBatch - kStacksAStep;
  if (more && !full && steps < kStepsALook) return 0;
  steps = 0;
  bool again = !more && finder.left_behind();
  if (batch_size > 0 && !HandToTrimmer()) again = true;
  if (!more) finder.End();
  schedule->Looked(now, /*over=*/!more, again);
  return schedule->Wait(now);
}

}  // namespace plimsoll::sched
