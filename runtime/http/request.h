// A Request is what a handler is given: the head, and a body to be read if it wants it.
//
//   void Upload(Request& request, ResponseWriter& response) {
//     absl::StatusOr<std::string> body = request.ReadAll();
//     if (!body.ok()) return response.Respond(400, "text/plain", body.status().message());
//     ...
//   }
//
// Lifetime: views of it end with the handler.
// Body:     read from the connection as the handler asks for it; what it leaves is skipped.
// Threads:  one at a time.
#ifndef PLIMSOLL_RUNTIME_HTTP_REQUEST_H_
#define PLIMSOLL_RUNTIME_HTTP_REQUEST_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "plimsoll/runtime/http/fields.h"
#include "plimsoll/runtime/http/request_head.h"

namespace plimsoll::http {

// Where a request's body comes from.
class BodySource {
 public:
  virtual ~BodySource() = default;
  // At least one byte, or 0 at the end.
  virtual absl::StatusOr<size_t> ReadBody(std::span<char> buffer) = 0;
};

class Request {
 public:
  // Both outlive the request.
  Request(const RequestHead& head, BodySource& body) : head_(head), body_(body) {}

  std::string_view method() const { return head_.method; }
  std::string_view path() const { return head_.path; }    // not decoded
  std::string_view query() const { return head_.query; }  // without the '?'
  std::string_view host() const { return head_.host; }
  const Fields& fields() const { return head_.fields; }
  const RequestHead& head() const { return head_; }

  // The next bytes of the body; 0: its end. kInvalidArgument: the client's framing is broken;
  // kResourceExhausted: it is larger than the server allows; kDeadlineExceeded: the client is slow;
  // kUnavailable: it hung up.
  absl::StatusOr<size_t> ReadBody(std::span<char> buffer) { return body_.ReadBody(buffer); }

  // All of the body; the server's limit bounds it.
  absl::StatusOr<std::string> ReadAll();

 private:
  const RequestHead& head_;
  BodySource& body_;
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_REQUEST_H_
