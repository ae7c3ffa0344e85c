// Stopping the world. The protocol is DESIGN.md's section of that name; its numbers are cited here.

#include "plimsoll/runtime/sched/stop_world.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/preempt.h"
#include "plimsoll/runtime/sched/saved_registers.h"
#include "plimsoll/runtime/sched/trace_hooks.h"

namespace plimsoll::sched {
namespace {

// Who may stop the world: one at a time, the others parked in line.
class Turn {
 public:
  void Take() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    NoPreempt guard;
    mu_.lock();
    if (!taken_) {
      taken_ = true;
      mu_.unlock();
      return;
    }
    waiting_.PushBack(CurrentG());
    ParkAndUnlock(WaitReason::kSemacquire, mu_);  // the turn is ours when we wake
  }

  void Give() {
    NoPreempt guard;
    G* next;
    {
      base::SpinLockHolder hold(mu_);
      next = waiting_.PopFront();
      if (next == nullptr) taken_ = false;
    }
    if (next != nullptr) Ready(next);
  }

 private:
  base::SpinLock mu_;
  bool taken_ ABSL_GUARDED_BY(mu_) = false;
  GList waiting_ ABSL_GUARDED_BY(mu_);
};

constinit Turn turn;
// Both are written by the one whose turn it is.
constinit std::atomic<G*> stopper{nullptr};
constinit int64_t stop_began_ns = 0;
constinit StopReason stopped_for = StopReason::kOther;
constinit int64_t stopped_at_ns = 0;
constinit bool stop_told = false;
constinit std::atomic<uint64_t> stops{0};
constinit std::atomic<int64_t> last_stop_ns{0}, longest_stop_ns{0};

// Takes every P that nobody runs on, and tells the Ms that run; `ask`: by the signal too.
void CollectLocked(const P* own, bool ask) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu) {
  const int n = sched.procs.load(std::memory_order_relaxed);
  for (int i = 0; i < n; ++i) {
    P* p = sched.all_ps[i];
    if (p == own) continue;
    PStatus expected = PStatus::kSyscall;
    // acquire: pairs with the release in EnterBlockingCall: where its goroutine's frames begin
    if (p->status.compare_exchange_strong(expected, PStatus::kIdle, std::memory_order_acq_rel)) {
      StopPLocked(p);  // by (3)
    } else if (expected == PStatus::kPreempted) {
      if (TakePreemptedLocked(p, /*stopping=*/true)) StopPLocked(p);
    } else if (expected == PStatus::kRunning) {
      if (M* m = p->m.load(std::memory_order_acquire)) {
        m->attention.store(1, std::memory_order_relaxed);
      }
      if (ask) AskForP(p, kAskedForGood);
    }
  }
}

// A copy of up to kAwayBytes from `sp` up, a stack whose end nobody knows. By the kernel, which
// stops at what is not mapped; beyond that end lies memory of others, who may unmap it now.
class AwayWords {
 public:
  void CopyFrom(uintptr_t sp, GView* view) {
    constexpr uintptr_t kPage = 4096;  // no page is smaller
    static_assert(kAwayBytes <= kPage);
    const uintptr_t lo = sp & ~uintptr_t{7};
    const uintptr_t next = (lo | (kPage - 1)) + 1;
    long n = Read(lo, next);
    // What a leaf function may use below its stack pointer may be where the guard is.
    if (n == -EFAULT) n = Read(next, next + kPage);
    if (n < 0 && n != -EFAULT) n = CopyPage(lo, next);
    view->away = words_;
    view->away_words = n > 0 ? static_cast<size_t>(n) / sizeof(uintptr_t) : 0;
  }

 private:
  // From `lo` up; `next`: where another page begins. How many bytes that were.
  long Read(uintptr_t lo, uintptr_t next) {
    const size_t first = next - lo < kAwayBytes ? next - lo : kAwayBytes;
    const iovec here = {words_, kAwayBytes};
    const iovec there[2] = {{reinterpret_cast<void*>(lo), first},
                            {reinterpret_cast<void*>(next), kAwayBytes - first}};
    return base::RawSyscall(SYS_process_vm_readv, getpid(), &here, 1, there, 2, 0);
  }
  // Where that call is forbidden: the page that was written to last.
  __attribute__((noinline, no_sanitize("address", "thread"))) long CopyPage(uintptr_t lo,
                                                                            uintptr_t next) {
    if (!IsMapped(lo)) {  // below a leaf function's stack pointer
      lo = next;
      next += 4096;
      if (!IsMapped(lo)) return 0;
    }
    const auto* from = reinterpret_cast<const volatile uintptr_t*>(lo);
    const size_t n = std::min(next - lo, kAwayBytes) / sizeof(uintptr_t);
    for (size_t i = 0; i < n; ++i) words_[i] = from[i];
    return static_cast<long>(n * sizeof(uintptr_t));
  }
  // By a call that reads a signal set there, finds that it is told to do nothing known with it, and
  // fails: which of the two came first shows.
  static bool IsMapped(uintptr_t at) {
    return base::RawSyscall(SYS_rt_sigprocmask, ~0, at, 0, 8) != -EFAULT;
  }

  uintptr_t words_[kAwayBytes / sizeof(uintptr_t)];
};
constinit AwayWords away_words = {};  // of who stopped the world

// The end of the alternate signal stack that `ucontext` lies on; 0: on none. The kernel notes the
// thread's altstack, whoever's it is, in each frame.
uintptr_t EndOfAltStack(const void* ucontext) {
  if (ucontext == nullptr) return 0;
  const stack_t& altstack = static_cast<const ucontext_t*>(ucontext)->uc_stack;
  const auto at = reinterpret_cast<uintptr_t>(ucontext);
  const auto lo = reinterpret_cast<uintptr_t>(altstack.ss_sp);
  const bool none = (altstack.ss_flags & SS_DISABLE) != 0;
  return !none && at >= lo && at - lo < altstack.ss_size ? lo + altstack.ss_size : 0;
}

// What `view` shows begins at `sp`.
void ShowFrom(uintptr_t sp, GView* view) {
  view->sp = sp;
  if (sp >= view->lo && sp <= view->hi) return;
  view->sp = view->lo;
  away_words.CopyFrom(sp, view);
}

// What lies on a goroutine's stack from its own G up is the runtime's.
uintptr_t EndOfStack(const G* g) {
  const auto end = reinterpret_cast<uintptr_t>(g);
  return end > g->stack.lo && end < g->stack.hi ? end : g->stack.hi;
}

GView ViewOf(const G* g, GStatus status) {
  GView view{.g = g,
             .state = GView::State::kWaiting,
             .reason = g->reason,
             .sp = 0,
             .lo = g->stack.lo,
             .hi = EndOfStack(g),
             .ucontext = nullptr,
             .context_hi = 0,
             .away = nullptr,
             .away_words = 0};
  auto sp = reinterpret_cast<uintptr_t>(g->sp);
  switch (status) {
    case GStatus::kRunnable:
      view.state = GView::State::kRunnable;
      if (g->left_call) sp = g->call_sp;
      break;
    case GStatus::kSyscall:
      view.state = GView::State::kBlockingCall;
      sp = g->call_sp;
      break;
    case GStatus::kPreempted:
      view.state = GView::State::kPreempted;
      sp = g->call_sp;
      view.ucontext = g->ucontext;
      view.context_hi = EndOfAltStack(g->ucontext);
      break;
    default:
      break;
  }
  ShowFrom(sp, &view);
  return view;
}

void Prefetch(uintptr_t lo, uintptr_t hi) {
  constexpr uintptr_t kLine = 64;
  for (uintptr_t at = lo; at < hi; at += kLine) __builtin_prefetch(reinterpret_cast<void*>(at));
}

// Visits goroutines behind those that are met. One that does not run is in no cache, nor is its
// page in the TLB, and who waits for its lines one by one waits longer than the rest of the visit
// takes. So they go through in batches: a G's first line is asked for as it is met, its frames when
// that has come, and it is shown when those have. Of one that is parked on its own stack nothing
// else is touched. In batches, since a processor sees no further ahead than one visit's
// instructions: were each met after a visit, the walks through the page tables would come one after
// the other.
class Visits {
 public:
  Visits(void (*fn)(const GView&, void*), void* arg, const G* caller)
      : fn_(fn), arg_(arg), caller_(caller) {}

  void Meet(const stack::Stack& stack) {
    const G* g = GOfStack(stack);
    __builtin_prefetch(g);
    met_->each[met_->size++] = {g, stack.lo};
    if (met_->size == kBatch) Advance();
  }

  void Finish() {
    for (int stage = 0; stage < 3; ++stage) Advance();
  }

 private:
  static constexpr size_t kBatch = 16;
  static constexpr uintptr_t kFrames = 1024;  // bytes asked for: more than a parked one has, mostly

  struct Met {
    const G* g = nullptr;
    uintptr_t lo = 0;  // of the stack that it lies on
  };
  struct Batch {
    Met each[kBatch];
    size_t size = 0;
  };

  // Looks at one and shows another in turn: the instructions of a visit are some while lines come.
  void Advance() {
    size_t kept = 0;
    for (size_t i = 0; i < std::max(come_->size, seen_->size); ++i) {
      if (i < come_->size && Look(come_->each[i])) come_->each[kept++] = come_->each[i];
      if (i < seen_->size) Show(seen_->each[i]);
    }
    come_->size = kept;
    seen_->size = 0;
    Batch* empty = std::exchange(seen_, come_);
    come_ = std::exchange(met_, empty);
  }

  // Whether it waits on the stack that its G lies on, from `sp` on.
  static bool IsParkedAtHome(Met met, GStatus status, uintptr_t sp) {
    return status == GStatus::kWaiting && sp >= met.lo && sp < reinterpret_cast<uintptr_t>(met.g);
  }

  // Asks for its frames. False: it is not to be shown.
  bool Look(Met met) {
    const G* g = met.g;
    if (g == caller_) return false;
    // acquire: pairs with the release of whoever left the goroutine in this state
    const GStatus status = g->status.load(std::memory_order_acquire);
    if (status == GStatus::kIdle || status == GStatus::kDead) return false;
    PLIMSOLL_CHECK(status != GStatus::kRunning, "goroutine ", g->id, " runs in a stopped world");
    const auto sp = reinterpret_cast<uintptr_t>(g->sp);
    if (IsParkedAtHome(met, status, sp)) {
      Prefetch(sp, std::min(reinterpret_cast<uintptr_t>(g), sp + kFrames));
    }
    return true;
  }

  // Anew: one that came out of its blocking call meanwhile is runnable now.
  void Show(Met met) {
    const G* g = met.g;
    // acquire: pairs with the release of whoever left the goroutine in this state
    const GStatus status = g->status.load(std::memory_order_acquire);
    const auto sp = reinterpret_cast<uintptr_t>(g->sp);
    if (!IsParkedAtHome(met, status, sp)) {
      fn_(ViewOf(g, status), arg_);
      return;
    }
    fn_({.g = g,
         .state = GView::State::kWaiting,
         .reason = g->reason,
         .sp = sp,
         .lo = met.lo,
         .hi = reinterpret_cast<uintptr_t>(g),
         .ucontext = nullptr,
         .context_hi = 0,
         .away = nullptr,
         .away_words = 0},
        arg_);
  }

  void (*fn_)(const GView&, void*);
  void* arg_;
  const G* caller_;
  Batch batches_[3];
  Batch* met_ = &batches_[0];
  Batch* come_ = &batches_[1];
  Batch* seen_ = &batches_[2];
};

}  // namespace

void StopPLocked(P* p) {
  p->m.store(nullptr, std::memory_order_relaxed);
  p->status.store(PStatus::kStopped, std::memory_order_release);
  if (--sched.stop_wait == 0) {
    // release: pairs with the acquire in StopTheWorld
    sched.stop_word.store(1, std::memory_order_release);
    base::FutexWake(sched.stop_word, 1);
  }
}

std::string_view StopReasonText(StopReason reason) {
  static constexpr std::string_view kTexts[] = {
      "other", "procs", "tracing", "trim", "stack use", "gc start", "gc end", "gc cycle",
  };
  static_assert(std::size(kTexts) == static_cast<size_t>(StopReason::kCount));
  return kTexts[static_cast<size_t>(reason)];
}

void StopTheWorld(StopReason why) {
  M* m = CurrentM();
  if (m == nullptr && InForkedChild()) FatalForked();
  PLIMSOLL_CHECK(m == nullptr || m->p != nullptr, "StopTheWorld within a BlockingCall");
  PLIMSOLL_CHECK(m == nullptr || !m->g->is_system_stack, "StopTheWorld on a system stack");
  turn.Take();
  m = CurrentM();  // maybe another since
  if (m != nullptr) ++m->no_preempt;
  stopper.store(CurrentG(), std::memory_order_relaxed);
  stop_began_ns = NowNanos();
  P* own = m != nullptr ? m->p : nullptr;
  sched.stop_word.store(0, std::memory_order_relaxed);

  sched.mu.lock();
  sched.stop_wait = sched.procs.load(std::memory_order_relaxed);
  sched.mode.fetch_or(kStopping, std::memory_order_relaxed);
  if (own != nullptr) {
    own->status.store(PStatus::kStopped, std::memory_order_relaxed);
    if (--sched.stop_wait == 0) sched.stop_word.store(1, std::memory_order_relaxed);
  }
  while (P* p = TakeIdlePLocked()) StopPLocked(p);
  CollectLocked(own, /*ask=*/false);
  sched.mu.unlock();

  // Most Ms stop within a few microseconds; one that runs on is told again, and by then may be in a
  // call. acquire: pairs with the release in StopPLocked
  int64_t pause_ns = 50'000;
  while (sched.stop_word.load(std::memory_order_acquire) != 1) {
    const bool told = base::FutexWait(sched.stop_word, 0, pause_ns);
    uint32_t look = 2;  // a handler gave its P away
    sched.stop_word.compare_exchange_strong(look, 0, std::memory_order_acquire);
    if (look == 1) break;
    base::SpinLockHolder hold(sched.mu);
    CollectLocked(own, /*ask=*/!told);
    pause_ns = 200'000;
  }
  // Whoever stopped the last P may still hold the lock; what it wrote is behind it.
  {
    base::SpinLockHolder hold(sched.mu);
  }

  stopped_for = why;
  stopped_at_ns = NowNanos();
  const int64_t took = stopped_at_ns - stop_began_ns;
  stop_told = Tracing() && why != StopReason::kTracing;
  if (stop_told) TraceStop(m, why, took);
  last_stop_ns.store(took, std::memory_order_relaxed);
  if (took > longest_stop_ns.load(std::memory_order_relaxed)) {
    longest_stop_ns.store(took, std::memory_order_relaxed);
  }
  stops.fetch_add(1, std::memory_order_relaxed);
}

void StartTheWorld() {
  PLIMSOLL_CHECK(stopper.load(std::memory_order_relaxed) == CurrentG(),
                 "StartTheWorld by another than who stopped it");
  stopper.store(nullptr, std::memory_order_relaxed);
  M* m = CurrentM();
  P* own = m != nullptr ? m->p : nullptr;
  if (stop_told && Tracing()) TraceStart(m, stopped_for, NowNanos() - stopped_at_ns);

  P* with_work = nullptr;  // chained by idle_link
  {
    base::SpinLockHolder hold(sched.mu);
    sched.mode.fetch_and(~uint32_t{kStopping}, std::memory_order_relaxed);
    const int n = sched.procs.load(std::memory_order_relaxed);
    for (int i = n - 1; i >= 0; --i) {
      P* p = sched.all_ps[i];
      if (p == own) {
        p->status.store(PStatus::kRunning, std::memory_order_relaxed);
        continue;
      }
      p->status.store(PStatus::kIdle, std::memory_order_relaxed);
      if (G* bound = TakeBoundLocked()) {
        GrantP(p, bound->bound_m);
      } else if (!p->queue.Empty()) {
        p->idle_link = with_work;
        with_work = p;
      } else {
        PutPDownLocked(p);
      }
    }
  }
  while (P* p = with_work) {
    with_work = p->idle_link;
    p->idle_link = nullptr;
    StartM(p, /*spinning=*/false);
  }
  // One that looks at all queues, and takes the poller's place where nobody has it.
  WakeIfIdle();
  turn.Give();
  if (m == nullptr) return;
  // The slice ended within the stop, when nobody could ask.
  if (own->preempt.load(std::memory_order_relaxed))
    m->attention.store(1, std::memory_order_relaxed);
  EndRegion(m, m->no_preempt - 1);
}

uint64_t GView::id() const { return g->id; }

WorldStats GetWorldStats() {
  return {.stops = stops.load(std::memory_order_relaxed),
          .last_stop_ns = last_stop_ns.load(std::memory_order_relaxed),
          .longest_stop_ns = longest_stop_ns.load(std::memory_order_relaxed)};
}

__attribute__((noinline)) void ForEachG(void (*visit)(const GView&, void*), void* arg,
                                        uintptr_t caller_sp) {
  const G* caller = CurrentG();
  PLIMSOLL_CHECK(stopper.load(std::memory_order_relaxed) == caller, "ForEachG in a running world");
  SavedRegisters saved;
  saved.Save();
  if (!caller->is_proxy()) {
    GView view{.g = caller,
               .state = GView::State::kCaller,
               .reason = WaitReason::kNone,
               .sp = 0,
               .lo = caller->stack.lo,
               .hi = EndOfStack(caller),
               .ucontext = nullptr,
               .context_hi = 0,
               .away = nullptr,
               .away_words = 0};
    ShowFrom(caller_sp != 0 ? caller_sp : saved.sp, &view);
    visit(view, arg);
  }
  Visits visits(visit, arg, caller);
  sched.stacks.ForEachSlot(
      [](const stack::Stack& stack, void* to) { static_cast<Visits*>(to)->Meet(stack); }, &visits);
  visits.Finish();
}

}  // namespace plimsoll::sched
