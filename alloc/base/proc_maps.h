// ProcMaps reads /proc/self/maps line by line, with no memory but the stack's.
//
//   ForEachMapping([](const Mapped& m, void* to) { ... return true; }, &state);
//
// What is not there (no /proc in the container) is told by false; nothing was called then.
// Threads: any. May be called beneath malloc, in handlers, and while the process ends.
#ifndef PLIMSOLL_ALLOC_BASE_PROC_MAPS_H_
#define PLIMSOLL_ALLOC_BASE_PROC_MAPS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll::base {

struct Mapped {
  uintptr_t start;
  uintptr_t end;
  uint64_t offset;  // of `start` in the file
  bool executable;
  std::string_view path;  // empty: anonymous; cut where the line is longer than 1,000 bytes
};

// Calls f(mapping, to) for each line until it answers false. False: the file could not be read.
bool ForEachMapping(bool (*f)(const Mapped& mapping, void* to), void* to);

// Adds where code is: "0x55d0c0de /usr/bin/service+0x1c0de", as addr2line and pprof want it.
void AddCodePlace(RawText& text, uintptr_t pc);

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_PROC_MAPS_H_
