#include "plimsoll/container/health/probe.h"

#include <algorithm>
#include <exception>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace plimsoll::container {

ProbeResult RunProbe(const Probe& probe) {
  try {
    return {probe.name, probe.check()};
  } catch (const std::exception& e) {
    return {probe.name, absl::InternalError(absl::StrCat("threw: ", e.what()))};
  }
}

absl::Status CheckProbeName(std::string_view name) {
  constexpr size_t kMaxLength = 63;
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  };
  if (!name.empty() && name.size() <= kMaxLength && std::ranges::all_of(name, allowed)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("probe name \"", absl::CEscape(absl::string_view(name.data(), name.size())),
                   "\" is not 1 to ", kMaxLength, " of a-z A-Z 0-9 . _ -"));
}

}  // namespace plimsoll::container
