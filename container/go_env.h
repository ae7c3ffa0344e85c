// Reads the two variables that manifests already set for Go programs.
//
//   GOMAXPROCS=4                  a positive number
//   GOMEMLIMIT=400MiB             bytes, B, KiB, MiB, GiB or TiB; "off" means no limit
//
// As Go does, an empty variable counts as not set. Unlike Go and automaxprocs, nonsense is neither
// fatal nor honoured: it is an error here, and the caller reports it and goes on without.
#ifndef PLIMSOLL_CONTAINER_GO_ENV_H_
#define PLIMSOLL_CONTAINER_GO_ENV_H_

#include <cstdint>
#include <limits>
#include <string_view>

#include "absl/status/statusor.h"

namespace plimsoll::container {

absl::StatusOr<int> ParseGoMaxProcs(std::string_view text);

// GOMEMLIMIT=off.
inline constexpr int64_t kNoMemLimit = std::numeric_limits<int64_t>::max();
absl::StatusOr<int64_t> ParseGoMemLimit(std::string_view text);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_GO_ENV_H_
