// What PLIMSOLL_DEBUG says of the heap: read once, when the heap is first asked for memory.
//
//   PLIMSOLL_DEBUG=heap=junk+canary+quarantine      or heap=all
//   PLIMSOLL_DEBUG=heapquarantine=1048576           bytes of freed objects to keep back; 16 MiB
//   PLIMSOLL_DEBUG=heapsample=2097152,heapguard=32  a sample for so many bytes; of so many samples,
//                                                   one in a guarded slot; 0 turns either off
//
// A value that is not understood is told on stderr and left out; so are unknown keys
// (alloc/base/debug_text.h).
#ifndef PLIMSOLL_ALLOC_HEAP_SETTINGS_H_
#define PLIMSOLL_ALLOC_HEAP_SETTINGS_H_

#include <cstdint>

#include "plimsoll/alloc/base/debug_text.h"

namespace plimsoll::alloc {

struct HeapSettings {
  uint64_t sample_period = uint64_t{2} << 20;
  uint64_t guard_every = 32;
  bool junk = false;        // fill what is allocated, and what is freed
  bool canary = false;      // look at the bytes past an object when it is freed
  bool quarantine = false;  // keep freed objects back, and see whether they are written to
  uint64_t quarantine_bytes = uint64_t{16} << 20;

  bool thread = true;  // malloc may make a thread that gives idle memory back

  bool debug() const { return junk || canary || quarantine; }
};

// The process's own are those of DebugText::FromEnvironment().
HeapSettings ReadHeapSettings(const base::DebugText& debug);

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_HEAP_SETTINGS_H_
