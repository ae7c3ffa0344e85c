// The afterlife: what is to be done about an object when nothing reaches it any more.
//
//   Weak        AddCell       its cell forgets the address
//   cleanup     AddCleanup    a function runs, which does not see the object
//   finalized   AddDestructor its destructor runs, then, a cycle later, it is freed
//
//    object's base --hash--> shard --> bucket --> Entry --> Entry     (beside the heap: mapped)
//                                                   |
//        kWeak:       the WeakCell, a collected object that holds ~address; nothing keeps it but
//                     Weaks
//        kCleanup:    a Root to the closure, which is scanned as a stack is
//        kDestructor: how to destroy it, and where its pointers are
//
//   state      where it is            who may touch it
//   waiting    its shard              who has the shard's lock; judged with the world stopped
//   candidate  its shard, and a list  the same; removed by Judge() alone
//   queued     the queue              who has the queue's lock
//   running    -                      the goroutine that took it off the queue
//   destroyed  its shard again        as waiting: is the object reachable after all?
//
// A mark looks at none of it: an entry keeps neither its object nor a cell. When a mark has found
// all that it will find, and the world is stopped, Judge() decides for each entry, once; DESIGN.md,
// "Weak pointers, cleanups, destructors", tells who may do what while that is going on.
//
// Invariants, proved by VerifyAfterlife():
//   (1) After Judge() each waiting entry's object is marked, and so is each cell.
//   (2) A cell that is not forgotten holds the address of an object in use.
//   (3) Of an object there is one kDestructor entry at most, and of an address one kWeak entry.
//
// Threads:  goroutines; what a mark's end calls, with the world stopped.
// Memory:   mapped, and Roots; no malloc.
#ifndef PLIMSOLL_RUNTIME_GC_AFTERLIFE_H_
#define PLIMSOLL_RUNTIME_GC_AFTERLIFE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "plimsoll/runtime/gc/describe.h"

namespace plimsoll::gc::internal {

struct Entry;

// What all Weaks to one address share. It is hidden, so that neither a stack nor the verifier takes
// it for a pointer.
struct WeakCell {
  std::atomic<uintptr_t> hidden{0};  // ~address; 0: the object is gone
  GC_NOSCAN(WeakCell);
};

// The cell for `address`; null: there is none. A mark that runs is told of it.
WeakCell* FindCell(uintptr_t address);
// Makes `fresh` the cell for `address`, unless another goroutine was first; returns that which is.
// Ends the process where `address` is in no collected object.
WeakCell* AddCell(uintptr_t address, WeakCell* fresh);
// The address; 0: the object is gone. A mark that runs is told of it, so that it is kept.
uintptr_t Strengthen(const WeakCell& cell);

// How to call a closure and how to destroy it: it lies in collected memory.
struct ClosureOps {
  void (*run)(void* closure);
  void (*destroy)(void* closure);
};

struct CleanupId {
  Entry* entry = nullptr;
  uint64_t id = 0;  // never used again, as the entry is
};
// `closure` is a collected object; it is kept until it was run.
CleanupId AddCleanup(const void* object, void* closure, const ClosureOps& ops);
// Takes it back. The closure, which is the caller's to destroy; null: it was queued, or taken back.
void* TakeCleanup(CleanupId id);

// What the collector knows of a type with a destructor.
struct FinalType {
  void (*destroy)(void* object);
  const uint64_t* mask;    // its words that may hold pointers
  const uint64_t* counts;  // and those that are lengths of what they lead to
  uint32_t words;
  const char* name;
};
void AddDestructor(void* object, const FinalType& type);

// Whether the object that starts at `base` has an entry.
bool HasAfterlife(uintptr_t base);

// --- For the end of a mark.

// Looks for entries that Judge() will have to look at: those of what is not marked by now. While
// the world runs, when nothing is grey any more: what is marked stays so, and what is added from
// now on is of objects that are reachable.
void FindCandidates();

// Decides. With the world stopped and everything marked that will be. What is finalized and dead is
// marked, and its pointers to what is dead are null. `search`: FindCandidates was not called.
// `verbose`: tells of objects that are reachable after they were destroyed.
struct Judged {
  uint64_t bytes = 0;  // that it has marked
  uint64_t objects = 0;
};
Judged Judge(bool search, bool verbose);

// Ends the process where (1) or (2) do not hold. After Judge(), the world is still stopped.
void VerifyAfterlife();

// Whether there is something to run; any thread.
bool HasQueued();
// Runs what is queued, until nothing is. On a goroutine that belongs to nobody.
void RunQueued();

struct AfterlifeStats {
  uint64_t weak = 0;         // addresses with a Weak
  uint64_t cleanups = 0;     // that wait
  uint64_t destructors = 0;  // that wait
  uint64_t queued = 0;       // to run, or running
  uint64_t done = 0;         // cleanups and destructors that have run, ever
  uint64_t resurrected = 0;  // objects that were reachable after their destructor, ever
};
AfterlifeStats GetAfterlifeStats();

// Faults to plant.
enum class AfterlifeFault : uint8_t {
  kNone,
  kNotShaded,     // Strengthen tells the mark nothing
  kNotForgotten,  // Judge leaves a dead object's cell as it is
  kNotNulled,     // and a dying object's pointers to dead ones
};
void SetAfterlifeFault(AfterlifeFault fault);

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_AFTERLIFE_H_
