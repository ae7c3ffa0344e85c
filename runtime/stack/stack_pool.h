// A StackPool hands out goroutine stacks cut from big reserved slabs, each with a guard below it.
//
//   slab (64 MiB or one slot, MAP_NORESERVE)
//    +--------+-----------------------+--------+-----------------------+--
//    | guard  | stack 0  <- grows     | guard  | stack 1  <- grows     | …
//    +--------+-----------------------+--------+-----------------------+--
//    ^ 16 KiB ^ lo                 hi ^        a slot is a power of two: guard and stack
//
//   guard kind       how                          costs
//   kInstall         MADV_GUARD_INSTALL (6.13)    no VMA
//   kProtect         mprotect(PROT_NONE)          two VMAs each; used while VMAs last
//   kNone            nothing                      counted, told in the start-up report
//
// Invariants:
//   (1) A slab is never unmapped; a slot is in use, or in its class's free list, or never used.
//   (2) A guard, once made, stays: MADV_DONTNEED and reuse do not remove it.
//   (3) The first word of a free stack's top is the link of the free list (that page is touched
//       already, so a free stack costs no more than it did).
//
// Memory:   own mappings only; callable with preemption off.
// Threads:  any; one SpinLock per class.
#ifndef PLIMSOLL_RUNTIME_STACK_STACK_POOL_H_
#define PLIMSOLL_RUNTIME_STACK_STACK_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/base/units.h"

namespace plimsoll::stack {

inline constexpr size_t kGuardBytes = 16 << 10;
inline constexpr int kMinClassShift = 16;  // 64 KiB, guard included
inline constexpr int kMaxClassShift = 30;  // 1 GiB
inline constexpr int kClasses = kMaxClassShift - kMinClassShift + 1;
inline constexpr ByteCount kDefaultStack = KiB(256);

// The address range of one stack, [lo, hi), and where it came from.
struct Stack {
  uintptr_t lo = 0;
  uintptr_t hi = 0;
  uint8_t size_class = 0;
  bool guarded = false;
};

enum class GuardKind : uint8_t { kUnknown, kInstall, kProtect, kNone };
std::string_view GuardKindText(GuardKind kind);

// Counts since the start, for reports.
struct StackStats {
  uint64_t slabs = 0;
  uint64_t slots_made = 0;  // ever handed out at least once
  uint64_t unguarded = 0;   // made without a guard
  ByteCount reserved;       // address space, not memory
};

class StackPool {
 public:
  constexpr StackPool() = default;
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // A stack of at least `size` bytes, guard not counted, up to 1 GiB less the guard. False: no
  // address space or memory, or the size is out of range; errno tells which (ENOMEM, EINVAL).
  bool Allocate(ByteCount size, Stack* out);

  // Gives a stack back. Its pages stay; Trim() returns them to the system.
  void Free(const Stack& stack);

  // Returns the pages of `stack` below `sp` to the system. The guard stays, by (2).
  static void Trim(const Stack& stack, uintptr_t sp);

  // Calls fn(stack, arg) for every slot ever handed out, used or free.
  void ForEachSlot(void (*fn)(const Stack& stack, void* arg), void* arg);

  // The slot that holds `addr` (its guard included), if this pool made one: for fault handlers, so
  // it takes no lock. The slot's range is written to *out; true where `addr` lies in the guard.
  bool FindGuard(uintptr_t addr, Stack* out) const;

  GuardKind guard_kind() const { return guard_kind_.load(std::memory_order_relaxed); }
  StackStats stats() const;

 private:
  struct Slab {
    uintptr_t base;
    uint32_t slots;
    std::atomic<uint32_t> used;  // slots [0, used) were handed out at least once
    uint8_t size_class;
    Slab* next;
  };
  struct SizeClass {
    base::SpinLock mu;
    uintptr_t free ABSL_GUARDED_BY(mu) = 0;  // top of the first free stack, by (3)
    Slab* current ABSL_GUARDED_BY(mu) = nullptr;
  };

  Slab* NewSlab(int size_class);
  Slab* NewSlabRecord();
  bool MakeGuard(uintptr_t slot);

  SizeClass classes_[kClasses];
  std::atomic<Slab*> slabs_{nullptr};  // pushed only; pairs release/acquire with readers
  base::SpinLock records_mu_;
  char* records_ ABSL_GUARDED_BY(records_mu_) = nullptr;
  size_t records_left_ ABSL_GUARDED_BY(records_mu_) = 0;
  std::atomic<GuardKind> guard_kind_{GuardKind::kUnknown};
  std::atomic<uint64_t> protect_guards_{0};
  std::atomic<uint64_t> unguarded_{0};
};

}  // namespace plimsoll::stack

#endif  // PLIMSOLL_RUNTIME_STACK_STACK_POOL_H_
