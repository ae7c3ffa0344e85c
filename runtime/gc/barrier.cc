#include "plimsoll/runtime/gc/barrier.h"

#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/cache_slot.h"

namespace plimsoll::gc::internal {

constinit std::atomic<bool> marking_now{false};

namespace {

// Objects that mutators marked and nobody has scanned. Several, by address, so that mutators seldom
// meet.
struct alignas(64) Shard {
  base::SpinLock mu;  // a leaf but for the page mapping beneath MarkStack
  MarkStack greys ABSL_GUARDED_BY(mu);
  MarkStack notes ABSL_GUARDED_BY(mu);  // words, of no shape
  Shaded sum ABSL_GUARDED_BY(mu);
};
constexpr size_t kShards = 8;
// Never destroyed: threads go on while the process ends.
union Shards {
  constexpr Shards() : each{} {}
  ~Shards() {}  // NOLINT(modernize-use-equals-default): a union of what has a destructor
  Shard each[kShards];
};
constinit Shards shards;
constinit std::atomic<BarrierFault> fault{BarrierFault::kNone};
constinit std::atomic<size_t> note_count{0};

Shard& ShardOf(uintptr_t word) { return shards.each[(word >> 13) % kShards]; }

void Shade(uintptr_t word) {
  alloc::SlowPath no_preempt;
  alloc::Object o;
  // Most are marked already; what this look sees may be out of date where nothing is marking.
  if (!alloc::FindObject(word, &o) || alloc::IsMarked(o)) return;
  Shard& shard = ShardOf(word);
  base::SpinLockHolder hold(shard.mu);
  // Under the lock: after CloseBarrier nothing more is marked, by whoever is not stopped either.
  if (!Marking()) return;
  if (!alloc::FindObject(word, &o) || !alloc::Mark(o)) return;
  shard.sum.bytes += o.bytes();
  ++shard.sum.objects;
  if (fault.load(std::memory_order_relaxed) == BarrierFault::kNotScanned) {
    // Nor is it scanned with others of its span.
    o.span->word(o.index / 64).scanned.fetch_or(uint64_t{1} << (o.index % 64));
    return;
  }
  PushObject(shard.greys, o);
}

}  // namespace

void StoreMarking(void* at, uintptr_t value) noexcept {
  typedef uintptr_t AnyWord __attribute__((may_alias));
  auto* slot = static_cast<AnyWord*>(at);
  // Most write what is new, where nothing was. The first to overwrite what was there when the mark
  // began has not seen null, unless it began since: then as in Store().
  if (__atomic_load_n(slot, __ATOMIC_RELAXED) == 0) {
    asm volatile("" : "+r"(slot) : : "memory");
    __atomic_store_n(slot, value, __ATOMIC_RELAXED);
    return;
  }
  alloc::SlowPath no_preempt;
  if (!Marking()) {  // it ended since the caller looked
    __atomic_store_n(slot, value, __ATOMIC_RELAXED);
    return;
  }
  // No exchange: of those who overwrite what was there when the mark began, the first in the slot's
  // order of stores has loaded it, since it loads after the start.
  const uintptr_t old = __atomic_load_n(slot, __ATOMIC_RELAXED);
  __atomic_store_n(slot, value, __ATOMIC_RELAXED);
  switch (fault.load(std::memory_order_relaxed)) {
    case BarrierFault::kSilent:
      return;
    case BarrierFault::kShadesNew:
      if (value != 0) Shade(value);
      return;
    default:
      if (old != 0) Shade(old);
  }
}

void Kept(uintptr_t p) {
  // A thread that is no mutator moves a pointer from one Root to another while both are scanned:
  // either the scan finds it in the first, or this thread finds the flag up. Pairs with the fence
  // in OpenBarrier().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!Marking() || p == 0) return;
  alloc::SlowPath no_preempt;
  alloc::Object o;
  if (!alloc::FindObject(p, &o) || alloc::IsMarked(o)) return;  // as in Shade()
  Shard& shard = ShardOf(p);
  base::SpinLockHolder hold(shard.mu);
  if (!Marking()) return;
  shard.notes.Push({p, nullptr});
  note_count.fetch_add(1, std::memory_order_relaxed);
}

void ShadeTaken(uintptr_t p) {
  if (Marking()) Shade(p);
}

void OpenBarrier() {
  for (Shard& shard : shards.each) {
    base::SpinLockHolder hold(shard.mu);
    shard.sum = Shaded();
  }
  marking_now.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void CloseBarrier() {
  marking_now.store(false, std::memory_order_relaxed);
  // Who saw it up has pushed what it marked, or sees it down.
  for (Shard& shard : shards.each) base::SpinLockHolder hold(shard.mu);
}

void ReopenBarrier() { marking_now.store(true, std::memory_order_relaxed); }

void TakeNotes(void (*f)(uintptr_t word, void* arg), void* arg) {
  for (Shard& shard : shards.each) {
    base::SpinLockHolder hold(shard.mu);
    while (!shard.notes.empty()) {
      note_count.fetch_sub(1, std::memory_order_relaxed);
      f(shard.notes.Pop().address, arg);
    }
  }
}

bool HasNotes() { return note_count.load(std::memory_order_relaxed) != 0; }

size_t TakeShaded(MarkStack& to, size_t most) {
  size_t taken = 0;
  for (Shard& shard : shards.each) {
    if (taken == most) break;
    base::SpinLockHolder hold(shard.mu);
    for (; taken < most && !shard.greys.empty(); ++taken) to.Push(shard.greys.Pop());
  }
  return taken;
}

Shaded ShadedTotal() {
  Shaded total;
  for (Shard& shard : shards.each) {
    base::SpinLockHolder hold(shard.mu);
    total.bytes += shard.sum.bytes;
    total.objects += shard.sum.objects;
  }
  return total;
}

void SetBarrierFault(BarrierFault f) { fault.store(f, std::memory_order_relaxed); }

}  // namespace plimsoll::gc::internal
