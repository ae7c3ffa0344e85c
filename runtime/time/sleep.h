// Sleep parks the goroutine for a time.
//
//   Sleep(absl::Milliseconds(5));
//
// Precision: never early; late by scheduling only. Zero or less returns at once; a time beyond the
//            clock's range is for ever.
// Clock:     CLOCK_MONOTONIC: setting the date moves nothing.
// Memory:    none.
#ifndef PLIMSOLL_RUNTIME_TIME_SLEEP_H_
#define PLIMSOLL_RUNTIME_TIME_SLEEP_H_

#include "absl/time/time.h"

namespace plimsoll {

void Sleep(absl::Duration duration);

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_TIME_SLEEP_H_
