// The example's command line and environment.
#ifndef PLIMSOLL_EXAMPLES_SERVICE_OPTIONS_H_
#define PLIMSOLL_EXAMPLES_SERVICE_OPTIONS_H_

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/net/address.h"

namespace example {

struct Options {
  plimsoll::net::Address address;
  absl::Duration grace;
  absl::Duration drain;
  bool help = false;
};

extern const std::string_view kUsage;

// kInvalidArgument names the flag or variable and the text seen. `environment` answers null for
// what is not set.
absl::StatusOr<Options> ParseOptions(std::span<char* const> arguments,
                                     const std::function<const char*(const char*)>& environment);

}  // namespace example

#endif  // PLIMSOLL_EXAMPLES_SERVICE_OPTIONS_H_
