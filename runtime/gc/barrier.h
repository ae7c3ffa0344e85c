// The write barrier: what a mark that runs beside the program must be told of.
//
//   Store(&slot, p);          // Ptr, and who clears words of collected memory
//   slot = p; Kept(p);        // Root, Global
//
// A mark takes a snapshot: with the world stopped it scans stacks and roots, and what is reachable
// then is marked, whatever the program does meanwhile (Yuasa, "Real-time garbage collection on
// general-purpose machines", 1990). So a pointer that is overwritten is marked, and what is
// allocated is black; DESIGN.md, "Marking beside the program", tells why nothing else is needed.
//
// Order:    look at the flag, then store. The flag changes in a stopped world alone. One whom a
//           signal stopped between the two has the slot's address in a register or on its stack,
//           where the start of a mark finds it (RangeSink::ScanInterrupted). With the flag up, and
//           unless the slot holds null, look and store are one no-preempt region.
// Threads:  Store: goroutines; two that race on a slot lose no object. Kept: any thread, also one
//           that is not stopped.
// Memory:   mapped; no malloc.
#ifndef PLIMSOLL_RUNTIME_GC_BARRIER_H_
#define PLIMSOLL_RUNTIME_GC_BARRIER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "plimsoll/runtime/gc/mark_stack.h"

namespace plimsoll::gc::internal {

// Changed with the world stopped. Only Marking() and the functions below read it.
extern constinit std::atomic<bool> marking_now;
inline bool Marking() { return marking_now.load(std::memory_order_relaxed); }

inline uintptr_t AsWord(uintptr_t word) { return word; }
inline uintptr_t AsWord(const void* p) { return reinterpret_cast<uintptr_t>(p); }

// Store() where the flag was seen up.
void StoreMarking(void* slot, uintptr_t value) noexcept;

// Stores to a word of collected memory.
template <typename Word>
[[gnu::always_inline]] inline void Store(Word* slot, Word value) {
  static_assert(sizeof(Word) == sizeof(uintptr_t));
  // The compiler forgets what it knows of the address, before the look: from there on the slot is
  // named by a word that holds its address, and not by another one and an offset, or an index.
  asm volatile("" : "+r"(slot) : : "memory");
  if (Marking()) [[unlikely]] {
    StoreMarking(slot, AsWord(value));
    return;
  }
  __atomic_store_n(slot, value, __ATOMIC_RELAXED);
}

// `p` was stored outside of the heap, where only a snapshot looks, by a thread that may not have
// been stopped for it. It leaves a note, and does not mark: where one marker is alone with the
// mark bits, that one sets them by plain stores.
void Kept(uintptr_t p);

// `p` was taken from where no mark looks, as a weak pointer's cell: a mark that runs will reach it.
// Requires: the caller is a goroutine, and since before it took `p` it has preemption off.
void ShadeTaken(uintptr_t p);

// --- For the collector.

// Begins to take what is shaded; nothing is left of the mark before. The world is stopped.
void OpenBarrier();
// From its return on nothing is shaded. The world is stopped.
void CloseBarrier();
// After CloseBarrier, when the mark is to go on after all.
void ReopenBarrier();

// Calls f(word, arg) for each word that Kept left. Any thread, with preemption off.
void TakeNotes(void (*f)(uintptr_t word, void* arg), void* arg);
bool HasNotes();

// Moves up to `most` objects that mutators made grey to `to`. Returns how many. Any thread, with
// preemption off.
size_t TakeShaded(MarkStack& to, size_t most);

struct Shaded {
  uint64_t bytes = 0;
  uint64_t objects = 0;
};
// What mutators have marked since OpenBarrier.
Shaded ShadedTotal();

// Faults to plant in the barrier.
enum class BarrierFault : uint8_t { kNone, kSilent, kShadesNew, kNotScanned };
void SetBarrierFault(BarrierFault fault);

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_BARRIER_H_
