// Limits as JSON: what `plimsoll limits --json` prints and a service answers at GET /limits.
//
//   quota            [num, den] in CPUs, lowest terms; null: none
//   quota_at         the directory that sets it            (memory_max_at, pids_max_at likewise)
//   cpu_version      "v1", "v2" or "none"                  (memory_version likewise)
//   cpu_dir          the own directory; null: it cannot be named
//   memory_max, memory_high, pids_max    numbers, null: none
//   procs, procs_source, procs_reason    P as chosen
//   procs_ceil_min2, procs_floor_min1    P by the rules of Go and of automaxprocs
//   heap_90pct       nine tenths of memory_max
//   diagnostics      codes, each once; diagnostic_texts has the sentences
//   levels           what was read where
#ifndef PLIMSOLL_CONTAINER_LIMITS_JSON_H_
#define PLIMSOLL_CONTAINER_LIMITS_JSON_H_

#include <string>

#include "plimsoll/container/json_writer.h"
#include "plimsoll/container/limits.h"

namespace plimsoll::container {

// One object, one key a line. Valid UTF-8 whatever bytes a path holds: a byte that is not is
// written as U+FFFD.
std::string ToJson(const Limits& limits);

// Its members alone, for an object that has more.
void WriteJson(JsonWriter& json, const Limits& limits);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_LIMITS_JSON_H_
