#include "plimsoll/runtime/gc/root_table.h"

#include <atomic>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/fixed_alloc.h"
#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/root.h"

namespace plimsoll::gc::internal {
namespace {

constexpr size_t kSlotsInBlock = 511;

struct RootBlock {
  RootSlot slots[kSlotsInBlock];
  RootBlock* next;
};
static_assert(sizeof(RootBlock) == 4096);

struct Table {
  base::SpinLock mu;
  FixedAlloc<RootBlock> storage;
  RootBlock* blocks ABSL_GUARDED_BY(mu) = nullptr;
  RootSlot* free ABSL_GUARDED_BY(mu) = nullptr;
  size_t count ABSL_GUARDED_BY(mu) = 0;
  GlobalNode* globals ABSL_GUARDED_BY(mu) = nullptr;
  AmbiguousRange* ranges ABSL_GUARDED_BY(mu) = nullptr;
};

constinit Table table;

// A free slot holds the next one, with a bit that no address of a program has.
constexpr uintptr_t kFreeBit = uintptr_t{1} << 63;
uintptr_t Tagged(RootSlot* next) { return reinterpret_cast<uintptr_t>(next) | kFreeBit; }
bool IsFree(uintptr_t word) { return (word & kFreeBit) != 0; }

RootSlot* TakeSlot() ABSL_EXCLUSIVE_LOCKS_REQUIRED(table.mu) {
  if (table.free == nullptr) {
    RootBlock* block = table.storage.New();
    if (block == nullptr) base::Fatal("gc: no memory for a Root, ", table.count, " are in use");
    block->next = table.blocks;
    table.blocks = block;
    for (size_t i = kSlotsInBlock; i-- > 0;) {
      block->slots[i].store(Tagged(table.free), std::memory_order_relaxed);
      table.free = &block->slots[i];
    }
  }
  RootSlot* slot = table.free;
  table.free = reinterpret_cast<RootSlot*>(slot->load(std::memory_order_relaxed) & ~kFreeBit);
  ++table.count;
  return slot;
}

}  // namespace

RootSlot* NewRootSlot(const void* p) {
  RootSlot* slot;
  {
    alloc::SlowPath no_preempt;
    base::SpinLockHolder hold(table.mu);
    slot = TakeSlot();
    slot->store(reinterpret_cast<uintptr_t>(p), std::memory_order_relaxed);
  }
  Kept(reinterpret_cast<uintptr_t>(p));
  return slot;
}

void DeleteRootSlot(RootSlot* slot) {
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(table.mu);
  slot->store(Tagged(table.free), std::memory_order_relaxed);
  table.free = slot;
  --table.count;
}

void RegisterGlobal(GlobalNode* node) {
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(table.mu);
  if (node->known.load(std::memory_order_relaxed)) return;
  node->next = table.globals;
  table.globals = node;
  node->known.store(true, std::memory_order_relaxed);
}

void AddRange(AmbiguousRange* range) {
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(table.mu);
  range->prev = nullptr;
  range->next = table.ranges;
  if (table.ranges != nullptr) table.ranges->prev = range;
  table.ranges = range;
}

void RemoveRange(AmbiguousRange* range) {
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(table.mu);
  (range->prev != nullptr ? range->prev->next : table.ranges) = range->next;
  if (range->next != nullptr) range->next->prev = range->prev;
}

void VisitRoots(void (*on_root)(uintptr_t address, void* arg), void* arg, RangeSink& sink) {
  base::SpinLockHolder hold(table.mu);
  for (RootBlock* block = table.blocks; block != nullptr; block = block->next) {
    for (RootSlot& slot : block->slots) {
      const uintptr_t word = slot.load(std::memory_order_relaxed);
      if (word != 0 && !IsFree(word)) on_root(word, arg);
    }
  }
  for (GlobalNode* node = table.globals; node != nullptr; node = node->next) {
    const uintptr_t word = node->value.load(std::memory_order_relaxed);
    if (word != 0) on_root(word, arg);
  }
  for (AmbiguousRange* r = table.ranges; r != nullptr; r = r->next) sink.Scan(r->lo, r->hi);
}

bool InRange(uintptr_t address) {
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(table.mu);
  for (AmbiguousRange* r = table.ranges; r != nullptr; r = r->next) {
    if (address >= r->lo && address < r->hi) return true;
  }
  return false;
}

size_t RootCount() {
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(table.mu);
  return table.count;
}

}  // namespace plimsoll::gc::internal
