// A RequestHead is all of a request but its body, as views into the bytes it was parsed from.
#ifndef PLIMSOLL_RUNTIME_HTTP_REQUEST_HEAD_H_
#define PLIMSOLL_RUNTIME_HTTP_REQUEST_HEAD_H_

#include <cstdint>
#include <string_view>

#include "plimsoll/runtime/http/fields.h"

namespace plimsoll::http {

// How the end of a message's body is found (RFC 9112 6.3).
enum class BodyFraming : uint8_t {
  kNone,     // there is no body
  kLength,   // Content-Length tells
  kChunked,  // Transfer-Encoding: chunked
};

struct RequestHead {
  std::string_view method;  // as sent: methods are case-sensitive
  std::string_view target;  // as sent
  std::string_view path;    // of the target, not decoded; "*" for OPTIONS *; empty for CONNECT
  std::string_view query;   // what follows '?', without it
  std::string_view host;    // of the Host field, or of an absolute target, which goes first
  Fields fields;

  int minor_version = 1;  // HTTP/1.0 or 1.1; a higher 1.x is answered as 1.1
  BodyFraming framing = BodyFraming::kNone;
  uint64_t content_length = 0;
  bool keep_alive = true;        // the client would send another request on this connection
  bool expect_continue = false;  // it waits for "100 Continue" before it sends the body
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_REQUEST_HEAD_H_
