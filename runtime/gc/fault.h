// Faults to plant in the collector, each alone, to see that checkmark or the verifier tells.
//
//   PLIMSOLL_DEBUG=checkmark=1,verify=1,gcfault=flip_mark
//
// They act in the marker that a cycle's result comes from, never in the checks. Those of the marker
// make a cycle stop the world. A build without a
// fault set runs the marker that was compiled without them.
#ifndef PLIMSOLL_RUNTIME_GC_FAULT_H_
#define PLIMSOLL_RUNTIME_GC_FAULT_H_

#include <cstdint>
#include <string_view>

namespace plimsoll::gc::internal {

enum class Fault : uint8_t {
  kNone,
  kMissedRoot,     // one Root or Global is not looked at
  kMissedStack,    // no stack is looked at
  kHalfStack,      // the upper half of each stack is not
  kMissedRange,    // no ambiguous range is looked at
  kNoInterior,     // an address within an object finds nothing
  kFlipMark,       // a mark is taken away again
  kMarkNeighbour,  // the next object of the span is marked in an object's stead
  kDropGrey,       // a marked object is not scanned
  kDropFound,      // a pointer that was found is not followed
  kEarlyEnd,       // marking ends with grey objects left
  kLastWord,       // the last mapped word of an object is not scanned
  kFirstWord,      // nor the first
  kShiftedMask,    // the mask is off by a word
  kFirstElement,   // of an array only the first element is scanned
  kLargeHead,      // of a large object only the first piece is scanned
  kNotTraced,      // gc_trace is not called
  kAllNoscan,      // objects with masks are taken for noscan
  kFreeMarked,     // after the cycle a marked object is freed
  kStaleMark,      // an object is marked before the cycle begins
  kSecondWord,     // of ambiguous memory every second word is not looked at
  kSpanNotQueued,  // a span in which something became grey is not queued
  kSkippedInSpan,  // of the grey objects of a span one is not scanned
  // In a mark beside the program:
  kNoBarrier,          // what is overwritten is not shaded
  kShadesNew,          // but what is written is
  kShadedNotScanned,   // what the barrier marks is not scanned
  kAllocatesWhite,     // what is allocated meanwhile is not marked
  kInterruptedMissed,  // at the start what an interrupted barrier is to overwrite is not followed
  kKeptLost,           // nor are the words that the start kept
  // In what comes after a mark (afterlife.h), beside a program or not:
  kWeakNotShaded,     // what a weak pointer gives out is not shaded
  kWeakNotForgotten,  // a weak pointer keeps the address of what is dead
  kDeadNotNulled,     // a destructor sees dead objects
  kCount,
};

inline constexpr Fault kFirstBeside = Fault::kNoBarrier;
inline constexpr Fault kFirstAfter = Fault::kWeakNotShaded;

std::string_view FaultName(Fault fault);
// The fault of the cycles to come: for tests.
void SetFault(Fault fault);
// kNone for a name that it does not know.
Fault FaultByName(std::string_view name);

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_FAULT_H_
