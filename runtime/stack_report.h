// StackHighWater tells how deep the goroutines that live have been in their stacks: what to choose
// for GoOptions{.stack}.
//
//   Log(ToText(StackHighWater()));
//   // 44 KiB of 240 KiB, 2 KiB now, 310 goroutines: main::{lambda#2}::operator() {"label": "http"}
//   //  8 KiB of 240 KiB, 1 KiB now, 12 goroutines: main::{lambda#1}::operator()
//
// To a page: stacks are not watched while they are used: their pages that have memory are looked
// at.
//            `deepest` is therefore a multiple of the page (4 KiB), and never less than was used.
//            What is given back of a parked goroutine's stack still counts.
// Before:    a stack that a goroutine got from one that ended shows the deeper of the two. To tell
//            them apart, and those that ended as well: PLIMSOLL_DEBUG=stackreport=1, whose table
//            comes on stderr when Main returns.
// How much:  `.stack` should leave room above `deepest` for paths that were not taken yet: twice as
//            much costs address space alone. The default (256 KiB less the guard) is 240 KiB.
// Cost:      some 2 us a goroutine; the world is stopped for about 0.1 ms for each 64 of them.
// Threads:   on a goroutine or any other thread, while Main runs; not within a BlockingCall.
#ifndef PLIMSOLL_RUNTIME_STACK_REPORT_H_
#define PLIMSOLL_RUNTIME_STACK_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "plimsoll/alloc/base/units.h"

namespace plimsoll {

// One goroutine, or all that run the same under the same label.
struct StackUsage {
  std::string function;    // what was given to Go: "main::{lambda#1}::operator()"; empty: not known
  std::string label;       // GoOptions'
  uint64_t goroutine = 0;  // its number; of a kind, that of its deepest
  int64_t goroutines = 1;  // how many there are of the kind
  // From the stack's upper end down; of a kind, the greatest of each.
  ByteCount size;
  ByteCount deepest;
  ByteCount now;
};

struct StackReport {
  bool known = false;             // false: this kernel does not tell, and every `deepest` is 0
  ByteCount page;                 // what `deepest` is a multiple of
  std::vector<StackUsage> kinds;  // the deepest first; at most 1,000 and then one of all others
  std::vector<StackUsage> top;    // single goroutines, likewise
  // Of all together.
  int64_t goroutines = 0;
  ByteCount size;
  ByteCount deepest;
  ByteCount now;
};

// Of every goroutine but the runtime's own; `top`: how many are to be told one by one.
StackReport StackHighWater(size_t top = 10);

// A line for each kind, one for each of the top, and one for all. A label is quoted: it commands no
// terminal.
std::string ToText(const StackReport& report);

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_STACK_REPORT_H_
