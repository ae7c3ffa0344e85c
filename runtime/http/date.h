// The Date field's text, "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7), without locale or
// tzdata.
#ifndef PLIMSOLL_RUNTIME_HTTP_DATE_H_
#define PLIMSOLL_RUNTIME_HTTP_DATE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plimsoll::http {

inline constexpr size_t kDateBytes = 29;

// Writes the 29 characters for `unix_seconds`, which is in the years 1970 to 9999.
void FormatDate(int64_t unix_seconds, char out[kDateBytes]);

// The text for now, formatted once a second.
//
// Threads: one at a time: each connection keeps its own.
class DateCache {
 public:
  std::string_view Now();

 private:
  int64_t second_ = -1;
  char text_[kDateBytes];
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_DATE_H_
