#include "plimsoll/runtime/sched/attach.h"

#include <cxxabi.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#include <cstring>
#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/locals.h"
#include "plimsoll/runtime/sched/preempt.h"
#include "plimsoll/runtime/sched/sanitizer.h"
#include "plimsoll/runtime/sched/switch_to.h"
#include "plimsoll/runtime/sched/trace_hooks.h"
#include "plimsoll/runtime/stack/switch.h"

namespace plimsoll {
namespace sched {
namespace {

// By (5) of DESIGN.md, "Threads of somebody else's": Ms without a thread, by idle_link.
constinit base::SpinLock spare_mu;
constinit M* spare_ms ABSL_GUARDED_BY(spare_mu) = nullptr;

constinit pthread_key_t end_of_thread = 0;

struct Bounds {
  uintptr_t lo = 0, hi = 0;
};

Bounds ThreadStack() {
  pthread_attr_t attr;
  Bounds bounds;
  if (pthread_getattr_np(pthread_self(), &attr) != 0) return bounds;
  void* lo = nullptr;
  size_t size = 0;
  if (pthread_attr_getstack(&attr, &lo, &size) == 0) {
    bounds.lo = reinterpret_cast<uintptr_t>(lo);
    bounds.hi = bounds.lo + size;
  }
  pthread_attr_destroy(&attr);
  return bounds;
}

// Whether a signal handler is among the callers. It walks the stack, which takes microseconds: an
// optimised build looks at the altstack alone.
bool WithinHandler() {
#ifdef NDEBUG
  return false;
#else
  bool found = false;
  _Unwind_Backtrace(
      [](_Unwind_Context* context, void* arg) {
        int before_instruction = 0;
        (void)_Unwind_GetIPInfo(context, &before_instruction);
        if (before_instruction == 0) return _URC_NO_REASON;
        *static_cast<bool*>(arg) = true;
        return _URC_END_OF_STACK;
      },
      &found);
  return found;
#endif
}

[[noreturn]] void NoMemory(int error) {
  base::Fatal("runtime: cannot attach a thread: no memory for its M: ", base::ErrnoName(error));
}

// An M with a g0 that sleeps in LockedLoop, and a goroutine.
M* TakeM() {
  {
    base::SpinLockHolder hold(spare_mu);
    if (M* m = spare_ms; m != nullptr) {
      spare_ms = m->idle_link;
      sched.ms_ended.fetch_sub(1, std::memory_order_relaxed);
      return m;
    }
  }
  stack::Stack slot;
  if (!sched.stacks.Allocate(stack::kDefaultStack, &slot)) NoMemory(errno);
  M* m = NewM();
  if (m == nullptr) NoMemory(errno);
  G* g = SanitizerMadeInView([&] { return ::new (GOfStack(slot)) G; });
  g->is_attached = true;
  m->attached_g = g;
  G& g0 = m->g0;
  g0.is_system_stack = true;
  g0.stack = slot;
  SanitizerNewSystemStack(&g0, g);
  g0.sp = stack::PrepareSystemStart(reinterpret_cast<uintptr_t>(g) & ~uintptr_t{15});
  m->g = &g0;
  PublishM(m);
  return m;
}

// By (3): kIdle still, since what is on its stack by now is of no goroutine.
bool QueueUnseen(G* g, void*) {
  PutGlobal(g);
  WakeIfIdle();
  return true;
}

void SetLabel(G* g, std::string_view label) {
  const size_t n = label.size() < sizeof(g->label) - 1 ? label.size() : sizeof(g->label) - 1;
  if (n > 0) std::memcpy(g->label, label.data(), n);
  g->label[n] = '\0';
}

// A thread that ends attached. Keys' destructors run after those of thread_locals.
void AtEndOfThread(void*) {
  M* m = CurrentM();
  if (m == nullptr || m->attach_depth == 0) return;
  m->attach_depth = 1;
  DetachThread();
}

// Whether ours is still the calling thread's: whoever put another in its place wants that one, and
// may have unmapped the one that was there before us.
bool IsInUse(const AltStack& ours) {
  stack_t now = {};
  return ours.lo != 0 && base::RawSyscall(SYS_sigaltstack, 0, &now) == 0 &&
         (now.ss_flags & SS_DISABLE) == 0 && reinterpret_cast<uintptr_t>(now.ss_sp) == ours.lo;
}

// Signals wait while the thread is neither one thing nor the other.
class NoSignals {
 public:
  NoSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

  sigset_t mask;  // what it will be again
};

}  // namespace

void PrepareToAttach() {
  const int rc = pthread_key_create(&end_of_thread, AtEndOfThread);
  PLIMSOLL_CHECK(rc == 0, "pthread_key_create: ", base::ErrnoName(rc));
}

bool OnAttachedStack(uintptr_t address) {
  // acquire: pairs with the release in BecomeM
  for (const M* m = sched.all_ms.load(std::memory_order_acquire); m != nullptr; m = m->all_link) {
    if (address < m->attached_hi.load(std::memory_order_relaxed) &&
        address >= m->attached_lo.load(std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

bool OnAltStack(uintptr_t address) {
  const M* m = CurrentM();
  return m != nullptr && m->altstack.Holds(address);
}

}  // namespace sched

using sched::CurrentM;
using sched::G;
using sched::GStatus;
using sched::M;
using sched::P;

__attribute__((noinline)) void AttachThread(std::string_view label) {
  if (M* m = CurrentM(); m != nullptr) {
    if (m->attach_depth > 0) ++m->attach_depth;
    return;
  }
  const uint32_t started = sched::sched.started.load(std::memory_order_acquire);
  if (started == sched::kNotStarted) {
    base::Fatal("runtime: AttachThread needs a running plimsoll::Main");
  }
  if (started == sched::kForked) sched::FatalForked();
  if (sched::Seeded()) {
    base::Fatal("runtime: a thread that is not the runtime's came into a seeded run");
  }
  if (sched::sched.frozen()) sched::StayFrozen();
  stack_t users_altstack = {};
  (void)base::RawSyscall(SYS_sigaltstack, 0, &users_altstack);
  if ((users_altstack.ss_flags & SS_ONSTACK) != 0 || sched::WithinHandler()) {
    base::Fatal("runtime: AttachThread in a signal handler");
  }
  const auto bounds = sched::ThreadStack();
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  if (here < bounds.lo || here >= bounds.hi) {
    base::Fatal("runtime: AttachThread on a stack that is not the thread's");
  }
  sched::CheckThreadLimit(1);

  M* m;
  {
    sched::NoSignals signals;
    m = sched::TakeM();
    G* g = m->attached_g;
    m->thread = pthread_self();
    m->eh = reinterpret_cast<sched::ExceptionState*>(abi::__cxa_get_globals());
    m->errno_address = &errno;
    m->users_altstack = users_altstack;
    if (!sched::UseAltStack(m->altstack)) m->altstack = sched::InstallAltStack();
    if (sched::sched.on_thread_start != nullptr) sched::sched.on_thread_start(m->id);
    m->picks_slowly = true;
    m->no_preempt = 1;
    m->attention.store(0, std::memory_order_relaxed);
    m->asked.store(sched::kNotAsked, std::memory_order_relaxed);
    m->waited = {};
    m->turn_ends_ns = m->passed_over_ns = 0;
    m->locked_g = g;
    m->attach_depth = 1;
    m->attached_lo.store(bounds.lo, std::memory_order_relaxed);
    m->attached_hi.store(bounds.hi, std::memory_order_relaxed);

    g->id = sched::sched.next_id.fetch_add(1, std::memory_order_relaxed);
    sched::SetLabel(g, label);
    g->bound_m = m;
    g->locks = 1;
    g->stack.lo = bounds.lo;
    g->stack.hi = bounds.hi;
    sched::SanitizerAttach(g);

    // By (2): the first before the second.
    sched::sched.blocking_calls.fetch_add(1, std::memory_order_seq_cst);
    sched::sched.own_threads.fetch_add(1, std::memory_order_seq_cst);
    sched::sched.spawned.fetch_add(1, std::memory_order_relaxed);
    m->g = g;
    m->tid.store(static_cast<int32_t>(base::RawSyscall(SYS_gettid)), std::memory_order_relaxed);
    plimsoll_tls_m = m;
    pthread_setspecific(sched::end_of_thread, m);

    const int preempt = sched::sched.preempt_signal;
    m->preempt_was_blocked = preempt != 0 && sigismember(&signals.mask, preempt) == 1;
    if (m->preempt_was_blocked) sigdelset(&signals.mask, preempt);
  }
  G* g = m->g;
  if (sched::Tracing()) sched::TraceSpawn(m, g);
  g->sp = nullptr;
  if (P* idle = sched::TakeIdleP(); idle != nullptr) {
    sched::AcquireP(m, idle);
  } else {
    m->commit = {sched::QueueUnseen, g, nullptr};
    sched::SwitchTo(m, g, &m->g0);
    m = CurrentM();
    sched::FinishSwitch(m);
  }
  g->status.store(GStatus::kRunning, std::memory_order_relaxed);
  sched::sched.blocking_calls.fetch_sub(1, std::memory_order_seq_cst);
  // Where it left its stack, g0 has told already.
  if (sched::Tracing() && g->sp == nullptr) sched::TraceRun(m, g);
  sched::EndRegion(m, 0);
}

void DetachThread(std::source_location where) {
  M* m = CurrentM();
  if (m == nullptr) {
    if (sched::InForkedChild()) sched::FatalForked();
    base::Fatal("runtime: DetachThread on a thread that is not attached\n[at ", where.file_name(),
                ":", where.line(), "]");
  }
  if (m->attach_depth == 0) return;
  if (m->attach_depth > 1) {
    --m->attach_depth;
    return;
  }
  if (m->blocking_depth > 0) {
    base::Fatal("runtime: DetachThread within a BlockingCall\n[at ", where.file_name(), ":",
                where.line(), "]");
  }
  PLIMSOLL_CHECK(m->no_preempt == 0, "DetachThread in a no-preempt region");
  stack_t altstack = {};
  (void)base::RawSyscall(SYS_sigaltstack, 0, &altstack);
  if ((altstack.ss_flags & SS_ONSTACK) != 0) {
    base::Fatal("runtime: DetachThread in a signal handler\n[at ", where.file_name(), ":",
                where.line(), "]");
  }
  G* g = m->g;
  if (sched::LocalNode* locals = g->locals; locals != nullptr) {
    g->locals = nullptr;
    sched::DropLocals(locals);  // the user's destructors: may park
  }
  m->no_preempt = 1;
  sched::TsanAcquireP(m->p);
  if (sched::sched.on_thread_end != nullptr) sched::sched.on_thread_end();

  sched::NoSignals signals;
  m->attach_depth = 0;
  P* p = m->p;
  // By (4), in this order.
  g->status.store(GStatus::kIdle, std::memory_order_release);  // pairs with ForEachG
  sched::sched.own_threads.fetch_sub(1, std::memory_order_seq_cst);
  sched::sched.reaped.fetch_add(1, std::memory_order_release);  // pairs with LiveGoroutines
  if (sched::Tracing()) sched::TraceDetach(m, g);
  pthread_setspecific(sched::end_of_thread, nullptr);
  plimsoll_tls_m = nullptr;
  m->p = nullptr;
  m->g = &m->g0;
  sched::AskNoMore(m);
  m->attached_hi.store(0, std::memory_order_relaxed);
  p->status.store(sched::PStatus::kIdle, std::memory_order_relaxed);
  sched::TsanReleaseP(p);
  sched::HandOffP(p);
  sched::HaveDeadlockWatched();

  sched::SanitizerDetach(g);
  if (sched::IsInUse(m->altstack)) (void)base::RawSyscall(SYS_sigaltstack, &m->users_altstack, 0);
  if (m->preempt_was_blocked) sigaddset(&signals.mask, sched::sched.preempt_signal);
  sched::sched.ms_ended.fetch_add(1, std::memory_order_relaxed);
  base::SpinLockHolder hold(sched::spare_mu);
  m->idle_link = sched::spare_ms;
  sched::spare_ms = m;
}

}  // namespace plimsoll
