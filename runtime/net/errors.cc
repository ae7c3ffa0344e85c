#include "plimsoll/runtime/net/errors.h"

#include <errno.h>
#include <string.h>

#include "absl/strings/str_cat.h"
#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll::net::internal {
namespace {

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENOTCONN:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case ETIMEDOUT:
      return absl::StatusCode::kUnavailable;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC:
      return absl::StatusCode::kResourceExhausted;
    case EADDRINUSE:
      return absl::StatusCode::kAlreadyExists;
    default:
      return absl::ErrnoToStatusCode(error);
  }
}

}  // namespace

absl::Status ErrnoStatus(std::string_view operation, std::string_view where, int error) {
  const char* described = strerrordesc_np(error);  // constant texts: no locale, no buffer
  return absl::Status(
      CodeOf(error),
      absl::StrCat(Absl(operation), " ", Absl(where), ": ", Absl(base::ErrnoName(error)), " (",
                   described == nullptr ? "unknown error" : described, ")"));
}

absl::Status ClosedStatus(std::string_view operation, std::string_view where) {
  return absl::FailedPreconditionError(
      absl::StrCat(Absl(operation), " ", Absl(where), ": use of closed connection"));
}

absl::Status TimeoutStatus(std::string_view operation, std::string_view where) {
  return absl::DeadlineExceededError(
      absl::StrCat(Absl(operation), " ", Absl(where), ": the deadline has passed"));
}

}  // namespace plimsoll::net::internal
