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
//   kNone            a canary at the lower end    counted, told in the start-up report; the owner
//                                                asks CanaryIntact when the goroutine parks
//
// Invariants:
//   (1) A slab is never unmapped; a slot is in use, or in its class's free list, or released, or
//       never used.
//   (2) A guard, once made, stays: MADV_DONTNEED and reuse do not remove it.
//   (3) The first word of a free stack's top is the link of the free list, the second the number of
//       its slab (that page is touched already, so a free stack costs no more than it did).
//   (4) A released stack has no memory at all; that it is free is a bit in its slab's record.
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
  uint32_t slab = 0;  // the number of its slab's record
};

enum class GuardKind : uint8_t { kUnknown, kInstall, kProtect, kNone };
std::string_view GuardKindText(GuardKind kind);

// Counts since the start, for reports.
struct StackStats {
  uint64_t slabs = 0;
  uint64_t slots_made = 0;  // ever handed out at least once
  uint64_t unguarded = 0;   // made without a guard
  uint64_t released = 0;    // free, without memory
  ByteCount reserved;       // address space, not memory
};

// What the pool asks of the kernel, so that a test can refuse it: each returns 0 or -errno.
struct StackCalls {
  long (*advise)(uintptr_t at, size_t bytes, int advice);
  // The same advice for `n` ranges of `bytes`, `stride` apart, in one call.
  long (*advise_all)(uintptr_t at, size_t bytes, size_t stride, int n, int advice);
  long (*protect_none)(uintptr_t at, size_t bytes);
  uint64_t (*max_map_count)();
};
extern const StackCalls kKernelStackCalls;

class StackPool {
 public:
  constexpr explicit StackPool(const StackCalls* calls = &kKernelStackCalls) : calls_(calls) {}
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // A stack of at least `size` bytes, guard not counted, up to 1 GiB less the guard. False: no
  // address space or memory, or the size is out of range; errno tells which (ENOMEM, EINVAL).
  bool Allocate(ByteCount size, Stack* out);

  // Up to `n` at once, for less each: their guards are made and their top pages brought in by one
  // call a batch. Returns how many; 0 as Allocate's false.
  int AllocateBatch(ByteCount size, Stack* out, int n);

  // Gives a stack back. Its pages stay.
  void Free(const Stack& stack);

  // Gives a stack back and its memory to the system: all of it, by (4).
  void Release(const Stack& stack);

  // False: somebody wrote below an unguarded stack's lower end. True for every other.
  bool CanaryIntact(const Stack& stack) const;
  // Whether there is any stack without a guard: while false, CanaryIntact need not be asked.
  bool has_unguarded() const { return unguarded_.load(std::memory_order_relaxed) != 0; }

  // Gives the pages of `stack` in [from, sp) to the system, at most `most` bytes of them, the
  // lowest first; returns how many bytes, or -errno where the kernel refuses (EINVAL: locked
  // memory). Whole pages only, none of the red zone below `sp`, and not the canary's. The guard
  // stays, by (2). Requires: nobody runs on the stack.
  long Trim(const Stack& stack, uintptr_t from, uintptr_t sp, size_t most = SIZE_MAX) const;
  // What Trim would give back: an empty range where there is nothing.
  static void TrimRange(const Stack& stack, uintptr_t sp, uintptr_t* lo, uintptr_t* hi);

  // Calls fn(stack, arg) for every slot ever handed out, used or free.
  void ForEachSlot(void (*fn)(const Stack& stack, void* arg), void* arg);

  // A walk over all slots that were handed out when it came to their slab, a few at a time: slabs
  // made after its first step are not in it.
  class Walk {
   private:
    friend class StackPool;
    const void* slab_ = nullptr;
    uint32_t next_ = 0;
    bool begun_ = false;
  };
  // The next ones of the walk, at most `n`, all neighbours in one slab. 0: there are no more.
  int NextSlots(Walk& walk, Stack* out, int n) const;

  // The slot that holds `addr` (its guard included), if this pool made one: for fault handlers, so
  // it takes no lock. The slot's range is written to *out; true where `addr` lies in the guard.
  bool FindGuard(uintptr_t addr, Stack* out) const;

  GuardKind guard_kind() const { return guard_kind_.load(std::memory_order_relaxed); }
  StackStats stats() const;

 private:
  static constexpr int kMaxSlots = 1024;
  struct Slab {
    uintptr_t base;
    uint32_t slots;
    std::atomic<uint32_t> used;  // slots [0, used) were handed out at least once
    uint32_t number;
    uint8_t size_class;
    Slab* next;
    uint32_t released_count;                          // guarded by the class's mu
    uint64_t released[kMaxSlots / 64];                // likewise, by (4)
    std::atomic<uint64_t> unguarded[kMaxSlots / 64];  // slots whose guard could not be made
  };
  struct SizeClass {
    base::SpinLock mu;
    uintptr_t free ABSL_GUARDED_BY(mu) = 0;  // top of the first free stack, by (3)
    Slab* current ABSL_GUARDED_BY(mu) = nullptr;
    uint64_t released ABSL_GUARDED_BY(mu) = 0;         // in all slabs of this class
    Slab* release_hint ABSL_GUARDED_BY(mu) = nullptr;  // had one when last looked at
  };

  Slab* NewSlab(int size_class);
  Slab* NewSlabRecord();
  Slab* RecordAt(uint32_t number) const;
  // Takes a released slot: its number in *slab, or -1.
  int TakeReleased(SizeClass& c, int size_class, Slab** slab) ABSL_EXCLUSIVE_LOCKS_REQUIRED(c.mu);
  // Makes the guards of slots [first, first + n).
  void MakeGuards(Slab* slab, uint32_t first, int n);
  bool MakeGuard(uintptr_t slot);
  Stack StackAt(const Slab* slab, uint32_t index) const;

  const StackCalls* calls_;
  SizeClass classes_[kClasses];
  std::atomic<Slab*> slabs_{nullptr};  // pushed only; pairs release/acquire with readers
  base::SpinLock records_mu_;
  uint32_t records_ ABSL_GUARDED_BY(records_mu_) = 0;
  static constexpr size_t kRecordBytes = 64 << 10;  // a chunk of records
  static constexpr size_t kChunks = 256;            // of which there are at most so many: 4 TB
  std::atomic<Slab*> chunks_[kChunks] = {};
  std::atomic<GuardKind> guard_kind_{GuardKind::kUnknown};
  std::atomic<uint64_t> protect_guards_{0};
  std::atomic<uint64_t> unguarded_{0};
};

}  // namespace plimsoll::stack

#endif  // PLIMSOLL_RUNTIME_STACK_STACK_POOL_H_
