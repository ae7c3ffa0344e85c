// Making, switching and ending goroutines.

#include <cxxabi.h>
#include <errno.h>
#include <sys/resource.h>

#include <cstring>
#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/locals.h"
#include "plimsoll/runtime/sched/lock_os_thread.h"
#include "plimsoll/runtime/sched/sanitizer.h"
#include "plimsoll/runtime/sched/switch_to.h"
#include "plimsoll/runtime/sched/trace_hooks.h"
#include "plimsoll/runtime/stack/switch.h"

extern "C" {
thread_local plimsoll::sched::M* plimsoll_tls_m = nullptr;
thread_local plimsoll::sched::G* plimsoll_tls_proxy = nullptr;
}

namespace plimsoll::sched {

constinit Scheduler sched;

namespace {

constexpr uint64_t kIdBatch = 16;

G* NewG(ByteCount stack_size) {
  stack::Stack s;
  if (!sched.stacks.Allocate(stack_size, &s)) return nullptr;
  return SanitizerMadeInView([&] {
    G* g = ::new (GOfStack(s)) G;
    g->stack = s;
    return g;
  });
}

// A batch of dead goroutines is a chain of up to kBatch by `link`; the first of it holds the number
// in `id`, and in `ahead` the first of the next batch, in the shared list.
constexpr int32_t kBatch = 128;

void ShareBatch(G* first, int32_t n) {
  first->id = static_cast<uint64_t>(n);
  base::SpinLockHolder hold(sched.free_mu);
  ++sched.free_batch_count;
  first->ahead = sched.free_batches;
  sched.free_batches = first;
}

// Of a batch of the shared list; null when there is none.
G* TakeSharedBatch(int32_t* n) {
  base::SpinLockHolder hold(sched.free_mu);
  G* first = sched.free_batches;
  if (first == nullptr) return nullptr;
  sched.free_batches = first->ahead;
  if (--sched.free_batch_count < sched.free_batch_low)
    sched.free_batch_low = sched.free_batch_count;
  *n = static_cast<int32_t>(first->id);
  return first;
}

// New goroutines of the default size into this P's empty list: the more it made, the more at once,
// up to 32 and an eighth of what it has. None, where there is no memory.
void NewGsFor(P* p) {
  constexpr int kMost = 32;
  const uint32_t eighth = p->new_gs / 8;
  const int wanted = eighth < 1 ? 1 : eighth > kMost ? kMost : static_cast<int>(eighth);
  stack::Stack stacks[kMost];
  const int n = sched.stacks.AllocateBatch(stack::kDefaultStack, stacks, wanted);
  for (int i = n - 1; i >= 0; --i) {
    G* g = ::new (GOfStack(stacks[i])) G;
    g->stack = stacks[i];
    g->link = p->free_gs;
    p->free_gs = g;
  }
  p->free_count += n;
  p->new_gs += static_cast<uint32_t>(n);
}

// A dead goroutine of the default size from this P's lists, the shared one, or the pool.
G* TakeDefaultG(M* m) {
  P* p = m != nullptr ? m->p : nullptr;
  if (p == nullptr) {
    int32_t n = 0;
    G* g = TakeSharedBatch(&n);
    if (g == nullptr) return NewG(stack::kDefaultStack);
    if (n > 1) ShareBatch(g->link, n - 1);
    return g;
  }
  if (p->free_gs == nullptr) {
    if (p->free_spare != nullptr) {
      p->free_gs = p->free_spare;
      p->free_spare = nullptr;
      p->free_count = kBatch;
    } else {
      p->free_gs = TakeSharedBatch(&p->free_count);
    }
  }
  if (p->free_gs == nullptr) NewGsFor(p);
  G* g = p->free_gs;
  if (g == nullptr) return nullptr;
  p->free_gs = g->link;
  --p->free_count;
  // The next one's lines, for the next spawn.
  if (const char* next = reinterpret_cast<const char*>(p->free_gs); next != nullptr) {
    __builtin_prefetch(next, 1);
    __builtin_prefetch(next - 64, 1);
  }
  return g;
}

bool HasDefaultStack(const G* g) {
  return g->stack.hi - g->stack.lo + stack::kGuardBytes == stack::kDefaultStack.value();
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
    g->link = nullptr;
    ShareBatch(g, 1);
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

using NoteFn = void (*)(const G* g);
constinit NoteFn note_end = nullptr;

bool ReapNotedCommit(G* g, void*) {
  note_end(g);
  return ReapCommit(g, nullptr);
}

}  // namespace

int64_t ReleaseIdleGs(int64_t now) {
  // Each second, half of what nobody needed since the last look: a burst's memory is gone within a
  // minute, and a wave that comes back finds most of it.
  constexpr int64_t kEveryNs = 1'000'000'000;
  constexpr int32_t kKept = 8;           // batches: 1,024 goroutines, 4 MiB
  constexpr int32_t kMostASecond = 128;  // about 10 ms of sysmon's time
  constexpr int32_t kAtOnce = 4;         // and at most 0.5 ms of it before it looks at the Ps again
  static constinit int64_t next_ns = 0;
  static constinit int32_t wanted = 0;
  if (now >= next_ns) {
    next_ns = now + kEveryNs;
    base::SpinLockHolder hold(sched.free_mu);
    const int32_t idle = sched.free_batch_low - kKept;
    wanted = idle <= 0 ? 0 : (idle + 1) / 2 < kMostASecond ? (idle + 1) / 2 : kMostASecond;
    sched.free_batch_low = sched.free_batch_count;
  }
  for (int32_t i = 0; i < kAtOnce && wanted > 0; ++i, --wanted) {
    int32_t n = 0;
    G* g = TakeSharedBatch(&n);
    if (g == nullptr) break;
    while (g != nullptr) {
      G* next = g->link;
#ifdef PLIMSOLL_TSAN
      if (g->tsan_fiber != nullptr) __tsan_destroy_fiber(g->tsan_fiber);
#endif
      const stack::Stack stack = g->stack;  // the G lies on it
      sched.stacks.Release(stack);
      g = next;
    }
  }
  if (wanted > 0) return 0;
  base::SpinLockHolder hold(sched.free_mu);
  return sched.free_batch_count > kKept ? next_ns - now : -1;
}

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

void ReapG(M* m, G* g) {
  g->status.store(GStatus::kIdle, std::memory_order_relaxed);
  P* p = m->p;
  if (p == nullptr) {
    // release: pairs with the acquire in LiveGoroutines
    sched.reaped.fetch_add(1, std::memory_order_release);
  } else {
    p->stat_reaps.store(p->stat_reaps.load(std::memory_order_relaxed) + 1,
                        std::memory_order_release);
  }
  if (p == nullptr || !HasDefaultStack(g)) {
    GiveBack(g);
    return;
  }
  // A whole batch goes to the shared list in one piece, and another one stays here: a P that makes
  // and one that ends goroutines do not meet at every one, and a P that swings does not meet
  // others.
  if (p->free_count == kBatch) {
    if (p->free_spare != nullptr) ShareBatch(p->free_spare, kBatch);
    p->free_spare = p->free_gs;
    p->free_gs = nullptr;
    p->free_count = 0;
  }
  g->link = p->free_gs;
  p->free_gs = g;
  ++p->free_count;
}

void ShareFreeGs(P* p) {
  if (p->free_count > 0) ShareBatch(p->free_gs, p->free_count);
  if (p->free_spare != nullptr) ShareBatch(p->free_spare, kBatch);
  p->free_gs = p->free_spare = nullptr;
  p->free_count = 0;
}

int64_t LiveGoroutines() {
  // Those that ended first, then those that were made: one that does both in between is counted,
  // and the sum is never below what it should be. acquire: pairs with the release in ReapG, after
  // which the spawn of who was reaped is seen.
  const int n = sched.procs_made.load(std::memory_order_acquire);
  uint64_t reaped = sched.reaped.load(std::memory_order_acquire);
  for (int i = 0; i < n; ++i) reaped += sched.all_ps[i]->stat_reaps.load(std::memory_order_acquire);
  uint64_t made = sched.spawned.load(std::memory_order_relaxed);
  for (int i = 0; i < n; ++i) made += sched.all_ps[i]->stat_spawns.load(std::memory_order_relaxed);
  return static_cast<int64_t>(made - reaped);
}

void NoteEnds(void (*note)(const G* g)) {
  note_end = note;
  sched.mode.fetch_or(kNoting, std::memory_order_relaxed);
}

void NoteIfEnds(M* m) {
  if (m->g->status.load(std::memory_order_relaxed) == GStatus::kDead)
    m->commit.fn = ReapNotedCommit;
}

void ExitGoroutine() {
  M* m = CurrentM();
  if (LocalNode* locals = m->g->locals; locals != nullptr) {
    m->g->locals = nullptr;
    DropLocals(locals);  // the user's destructors: may park
    m = CurrentM();
  }
  m->no_preempt = 1;
  TsanAcquireP(m->p);
  G* g = m->g;
  g->status.store(GStatus::kDead, std::memory_order_relaxed);
  m->commit = {ReapCommit, g, nullptr};
  G* next = PickLocal(m, m->p);  // null where it is locked
  if (g->locks > 0) {
    g->locks = 0;
    g->bound_m = nullptr;
    m->locked_g = nullptr;
    m->ends = true;
  }
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
  EndRegion(m, 0);
  // No catch and no noexcept here: an exception that nobody catches must end the unwinder's search
  // at the outermost frame, so that std::terminate runs at the throw with the stack whole.
  if (g->is_sticky) [[unlikely]]
    plimsoll::LockOsThread();
  g->entry->run(g->closure);
  if (g->is_sticky) [[unlikely]]
    plimsoll::UnlockOsThread();
  ExitGoroutine();
}

namespace plimsoll::internal {

using sched::CurrentM;
using sched::G;
using sched::M;

namespace {

template <bool kTraced>
[[gnu::always_inline]] inline bool SpawnFrom(void* place_of_go, const EntryOps& ops, void* closure,
                                             const GoOptions& options) {
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
    g->parent_id = m != nullptr ? m->g->id : 0;
    g->created_at = reinterpret_cast<uintptr_t>(place_of_go);
    g->locals = m != nullptr ? sched::KeepLocals(m->g->locals) : nullptr;
    if (options.label.empty() && m != nullptr && m->g->label[0] != '\0') {
      memcpy(g->label, m->g->label, sizeof(g->label));
    } else {
      const size_t label =
          options.label.size() < sizeof(g->label) - 1 ? options.label.size() : sizeof(g->label) - 1;
      if (label > 0) memcpy(g->label, options.label.data(), label);
      g->label[label] = '\0';
    }
  }
  const uintptr_t align = ops.align < 16 ? 16 : ops.align;
  const uintptr_t place = (reinterpret_cast<uintptr_t>(g) - ops.size) & ~(align - 1);
  sched::SanitizerNewG(g);
  // What moves into the new stack lives there from now on, also for who stops the world meanwhile.
  g->sp = reinterpret_cast<void*>(place);
  g->bound_m = nullptr;
  g->is_sticky = options.affinity == Affinity::kSticky;
  g->locks = 0;
  g->last_m = nullptr;
  g->status.store(sched::GStatus::kRunnable, std::memory_order_release);  // pairs with ForEachG
  struct Undo {
    G* g;
    ~Undo() {
      if (g == nullptr) return;
      sched::DropLocals(g->locals);
      g->locals = nullptr;
      sched::NoPreempt guard;  // it takes locks
      sched::GiveBack(g);
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

  sched::NoPreempt guard;
  M* m = CurrentM();
  if constexpr (kTraced) sched::TraceSpawn(m, g);
  if (m == nullptr || m->p == nullptr) {
    sched::sched.spawned.fetch_add(1, std::memory_order_relaxed);
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

__attribute__((noinline)) bool SpawnUnusually(uint32_t started, void* place_of_go,
                                              const EntryOps& ops, void* closure,
                                              const GoOptions& options) {
  PLIMSOLL_CHECK(started != sched::kNotStarted, "Go needs a running plimsoll::Main");
  if (started == sched::kForked) sched::FatalForked();
  return SpawnFrom<true>(place_of_go, ops, closure, options);
}

}  // namespace

bool Spawn(const EntryOps& ops, void* closure, const GoOptions& options) {
  const uint32_t started = sched::sched.started.load(std::memory_order_acquire);
  void* const place_of_go = __builtin_return_address(0);
  if (started != sched::kStarted) [[unlikely]]
    return SpawnUnusually(started, place_of_go, ops, closure, options);
  return SpawnFrom<false>(place_of_go, ops, closure, options);
}

void FatalNoStack() {
  // The usual cause of it in a machine with memory left.
  rlimit space;
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) {
    base::Fatal("runtime: cannot allocate memory for a goroutine's stack (",
                sched::GetStats().goroutines, " goroutines); the address space is limited to ",
                space.rlim_cur >> 20, " MiB (ulimit -v), and stacks reserve more than they use");
  }
  base::Fatal("runtime: cannot allocate memory for a goroutine's stack (",
              sched::GetStats().goroutines, " goroutines)");
}

}  // namespace plimsoll::internal

namespace plimsoll {

void Yield() { sched::Yield(); }

}  // namespace plimsoll
