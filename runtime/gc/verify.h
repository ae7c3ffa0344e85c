// Two checks of a cycle, after marking and before anything is freed, in a stopped world.
//
//   CheckMarks(roots)       "checkmark": reaches everything once more, in the plainest way and from
//                           the same roots, and ends the process at the first object that is not
//                           marked:
//
//     fatal error: gc: checkmark: 0x… (Node, 64 bytes) is reachable and not marked
//       from word 2 of 0x… (Node)  from word 0 of 0x… (Node)  from a root
//
//   VerifyHeap()            every pointer of every marked object: it must be null, or lead into a
//                           marked object. And every word that is not mapped: it must not be the
//                           address of an object that is about to be freed, unless its type is
//                           noscan.
//
//   FindWay(roots, object)  what holds an object, from a root on.
//
// Memory:   CheckMarks takes about 40 bytes for each reachable object, of its own. Both are for
//           tests and for PLIMSOLL_DEBUG=checkmark=1,verify=1.
#ifndef PLIMSOLL_RUNTIME_GC_VERIFY_H_
#define PLIMSOLL_RUNTIME_GC_VERIFY_H_

#include <cstddef>
#include <cstdint>

#include "plimsoll/runtime/gc/world.h"

namespace plimsoll::gc::internal {

// Shows all roots: on_root for what is precise, sink for what is not.
using RootsFn = void (*)(void* arg, void (*on_root)(uintptr_t address, void* to), void* to,
                         RangeSink& sink);

void CheckMarks(RootsFn roots, void* arg);

// CheckMarks for a mark beside the program, in two halves, at its start and at its end, each with
// the world stopped: what was reachable at the start is marked at the end. What is reachable at the
// end by stacks is no measure: a word there may be out of date, and have lain deeper at the start.
void TakeSnapshot(RootsFn roots, void* arg);
void CheckSnapshot();

void VerifyHeap();

// One step of the way from an object to a root: an object, and which word of it holds the step
// before. The first step is the object itself.
struct Step {
  uintptr_t object = 0;
  const char* type = nullptr;
  uint64_t bytes = 0;
  uintptr_t word = 0;
};
struct Way {
  static constexpr size_t kMost = 64;
  bool found = false;
  size_t length = 0;  // of all of it; of more than kMost steps the first are told
  Step steps[kMost] = {};
  uintptr_t root = 0;  // the word of a stack or a range that holds the last; 0: a Root or a Global
};

// How `object`, its first byte, is reached, with the world stopped. Memory: 40 bytes for each
// object that is reached before it.
void FindWay(RootsFn roots, void* arg, uintptr_t object, Way& way);

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_VERIFY_H_
