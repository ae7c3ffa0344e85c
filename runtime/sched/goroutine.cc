// Making, switching and ending goroutines.

#include <cxxabi.h>
#include <errno.h>

#include <cstring>
#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/sanitizer.h"
#include "plimsoll/runtime/stack/switch.h"

extern "C" {
thread_local plimsoll::sched::M* plimsoll_tls_m = nullptr;
thread_local plimsoll::sched::G* plimsoll_tls_proxy = nullptr;
}

namespace plimsoll::sched {

constinit Scheduler sched;

namespace {

constexpr int32_t kFreeGsPerP = 256;  // beyond, half goes to the shared list
constexpr uint64_t kIdBatch = 16;

G* NewG(ByteCount stack_size) {
  stack::Stack s;
  if (!sched.stacks.Allocate(stack_size, &s)) return nullptr;
  G* g = ::new (GOfStack(s)) G;
  g->stack = s;
  return g;
}

// A dead goroutine of the default size from this P's list, the shared list, or the pool.
G* TakeDefaultG(M* m) {
  P* p = m != nullptr ? m->p : nullptr;
  if (p != nullptr) {
    if (p->free_gs == nullptr) {
      base::SpinLockHolder hold(sched.free_mu);
      while (sched.free_gs != nullptr && p->free_count < kFreeGsPerP / 2) {
        G* g = sched.free_gs;
        sched.free_gs = g->link;
        --sched.free_count;
        g->link = p->free_gs;
        p->free_gs = g;
        ++p->free_count;
      }
    }
    if (G* g = p->free_gs; g != nullptr) {
      p->free_gs = g->link;
      --p->free_count;
      return g;
    }
  } else {
    base::SpinLockHolder hold(sched.free_mu);
    if (G* g = sched.free_gs; g != nullptr) {
      sched.free_gs = g->link;
      --sched.free_count;
      return g;
    }
  }
  return NewG(stack::kDefaultStack);
}

bool HasDefaultStack(const G* g) {
  return g->stack.hi - g->stack.lo + stack::kGuardBytes == stack::kDefaultStack.value();
}

void ShareG(G* g) {
  base::SpinLockHolder hold(sched.free_mu);
  g->link = sched.free_gs;
  sched.free_gs = g;
  ++sched.free_count;
}

uint64_t NewId(M* m) {
  P* p = m != nullptr ? m->p : nullptr;
  if (p == nullptr) return sched.next_id.fetch_add(1, std::memory_order_relaxed);
  if (p->next_id == p->last_id) {
    p->next_id = sched.next_id.fetch_add(kIdBatch, std::memory_order_relaxed);
    p->last_id = p->next_id + kIdBatch;
  }
  return p->next_id++;
}

// Gives a goroutine that will not run back, whatever its stack.
void GiveBack(G* g) {
  g->status.store(GStatus::kIdle, std::memory_order_relaxed);
  if (HasDefaultStack(g)) {
    ShareG(g);
  } else {
#ifdef PLIMSOLL_TSAN
    __tsan_destroy_fiber(g->tsan_fiber);
#endif
    sched.stacks.Free(g->stack);
  }
}

bool ReapCommit(G* g, void*) {
  ReapG(CurrentM(), g);
  return true;
}

}  // namespace

void SanitizerThreadStart([[maybe_unused]] G* g0) {
#ifdef PLIMSOLL_TSAN
  g0->tsan_fiber = __tsan_get_current_fiber();
#endif
#ifdef PLIMSOLL_ASAN
  pthread_attr_t attr;
  void* base = nullptr;
  size_t size = 0;
  if (pthread_getattr_np(pthread_self(), &attr) == 0) {
    pthread_attr_getstack(&attr, &base, &size);
    pthread_attr_destroy(&attr);
  }
  g0->stack.lo = reinterpret_cast<uintptr_t>(base);
  g0->stack.hi = g0->stack.lo + size;
  // While a goroutine runs, ASan takes its stack for the thread's: what only this one points to
  // would look leaked.
  __lsan_register_root_region(base, size);
#endif
}

void FinishSwitch(M* m) {
  const Commit commit = m->commit;
  if (commit.fn == nullptr) return;
  m->commit.fn = nullptr;
  if (!commit.fn(commit.g, commit.arg)) Ready(commit.g);
}

void SwitchTo(M* m, G* from, G* to, bool last) {
  // by g.h (3). The addresses are the thread's own, read once when the M began: a compiler's copy
  // of &errno or of __cxa_get_globals()'s result would be the old thread's after the switch.
  from->eh = *m->eh;
  from->saved_errno = *m->errno_address;
  *m->eh = to->eh;
  *m->errno_address = to->saved_errno;
  m->g = to;
  to->status.store(GStatus::kRunning, std::memory_order_relaxed);
  SanitizerBeforeSwitch(from, to, last);
  plimsoll_switch(&from->sp, to->sp);
  SanitizerAfterSwitch(from);
}

void ReapG(M* m, G* g) {
  g->status.store(GStatus::kIdle, std::memory_order_relaxed);
  sched.goroutines.fetch_sub(1, std::memory_order_relaxed);
  P* p = m->p;
  if (p == nullptr || !HasDefaultStack(g)) {
    GiveBack(g);
    return;
  }
  g->link = p->free_gs;
  p->free_gs = g;
  if (++p->free_count < kFreeGsPerP) return;
  base::SpinLockHolder hold(sched.free_mu);
  while (p->free_count > kFreeGsPerP / 2) {
    G* extra = p->free_gs;
    p->free_gs = extra->link;
    --p->free_count;
    extra->link = sched.free_gs;
    sched.free_gs = extra;
    ++sched.free_count;
  }
}

void ExitGoroutine() {
  M* m = CurrentM();
  m->no_preempt = 1;
  G* g = m->g;
  g->status.store(GStatus::kDead, std::memory_order_relaxed);
  m->commit = {ReapCommit, g, nullptr};
  G* next = PickLocal(m, m->p);
  SwitchTo(m, g, next != nullptr ? next : &m->g0, /*last=*/true);
  __builtin_unreachable();
}

}  // namespace plimsoll::sched

extern "C" void plimsoll_goroutine_main() {
  using namespace plimsoll::sched;
  M* m = CurrentM();
  G* g = m->g;
  SanitizerAfterSwitch(g);
  FinishSwitch(m);
  m->no_preempt = 0;
  // No catch and no noexcept here: an exception that nobody catches must end the unwinder's search
  // at the outermost frame, so that std::terminate runs at the throw with the stack whole.
  g->entry->run(g->closure);
  ExitGoroutine();
}

namespace plimsoll::internal {

using sched::CurrentM;
using sched::G;
using sched::M;

bool Spawn(const EntryOps& ops, void* closure, const GoOptions& options) {
  PLIMSOLL_CHECK(sched::sched.started.load(std::memory_order_acquire),
                 "Go needs a running plimsoll::Main");
  // A closure that would fill the stack gets its size on top.
  uint64_t size = options.stack.value() != 0 ? options.stack.value() : stack::kDefaultStack.value();
  if (size > (uint64_t{1} << stack::kMaxClassShift)) return false;  // also: no overflow below
  const bool big_closure = ops.size > (16 << 10);
  if (big_closure) size += ops.size + ops.align;

  G* g = nullptr;
  {
    sched::NoPreempt guard;
    M* m = CurrentM();
    g = size == stack::kDefaultStack.value() ? sched::TakeDefaultG(m)
                                             : sched::NewG(ByteCount(size));
    if (g == nullptr) return false;
    g->id = sched::NewId(m);
  }
  const uintptr_t align = ops.align < 16 ? 16 : ops.align;
  const uintptr_t place = (reinterpret_cast<uintptr_t>(g) - ops.size) & ~(align - 1);
  sched::SanitizerNewG(g);
  struct Undo {
    G* g;
    ~Undo() {
      if (g != nullptr) sched::GiveBack(g);
    }
  } undo{g};
  ops.move_to(reinterpret_cast<void*>(place), closure);  // the user's code: may throw
  undo.g = nullptr;

  g->entry = &ops;
  g->closure = reinterpret_cast<void*>(place);
  g->sp = stack::PrepareStart(place & ~uintptr_t{15});
  g->eh = {};
  g->saved_errno = 0;
  g->reason = sched::WaitReason::kNone;
  const size_t label =
      options.label.size() < sizeof(g->label) - 1 ? options.label.size() : sizeof(g->label) - 1;
  if (label > 0) memcpy(g->label, options.label.data(), label);
  g->label[label] = '\0';

  sched::sched.goroutines.fetch_add(1, std::memory_order_relaxed);
  g->status.store(sched::GStatus::kRunnable, std::memory_order_relaxed);
  sched::NoPreempt guard;
  M* m = CurrentM();
  if (m == nullptr || m->p == nullptr) {
    sched::PutGlobal(g);
    sched::WakeIfIdle();
    return true;
  }
  sched::P* p = m->p;
  p->stat_spawns.store(p->stat_spawns.load(std::memory_order_relaxed) + 1,
                       std::memory_order_relaxed);
  if (sched::PutLocal(p, g, /*next=*/true)) sched::WakeForRing();
  return true;
}

void FatalNoStack() {
  base::Fatal("runtime: cannot allocate memory for a goroutine's stack (",
              sched::GetStats().goroutines, " goroutines)");
}

}  // namespace plimsoll::internal

namespace plimsoll {

void Yield() { sched::Yield(); }

}  // namespace plimsoll
