// The reason phrases of HTTP's status codes (RFC 9110 15).
#ifndef PLIMSOLL_RUNTIME_HTTP_STATUS_H_
#define PLIMSOLL_RUNTIME_HTTP_STATUS_H_

#include <string_view>

namespace plimsoll::http {

// "Not Found" for 404; empty for a code that has no registered phrase.
std::string_view StatusText(int status);

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_STATUS_H_
