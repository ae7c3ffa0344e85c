// A RequestParser reads the head of an HTTP/1 request out of a connection's buffer, copying
// nothing.
//
//   RequestParser parser(limits);
//   RequestHead head;
//   RequestParser::Result r = parser.Parse(buffer, head);
//   while (r.state == RequestParser::kNeedMore) { ReadMore(buffer); r = parser.Parse(buffer, head);
//   } if (r.state == RequestParser::kBad) Answer(r.status, r.reason);       // then close
//   buffer.Consume(r.head_bytes);                                        // the body follows
//
// Input:     at each call all bytes from the request's first on; the buffer may have moved
//            meanwhile. Lines that were seen complete are not looked at again, so a byte at a time
//            costs no more than all at once but for the parse at the end.
// Strictness: lines end in CRLF and nothing else. What two servers could read in two ways is
//            refused (RFC 9112 11.2, request smuggling): Content-Length beside Transfer-Encoding,
//            either of them twice, a blank before the colon, a folded line, a bare CR or LF, NUL, a
//            second Host, chunked twice or not last, Transfer-Encoding in HTTP/1.0.
// Statuses:  400 malformed, 413 the declared body is over the limit, 414 target too long, 431 head
//            too large or too many fields, 501 transfer coding unknown, 505 not HTTP/1.
// Threads:   one at a time. Memory: none beyond what RequestHead's list of fields takes.
#ifndef PLIMSOLL_RUNTIME_HTTP_REQUEST_PARSER_H_
#define PLIMSOLL_RUNTIME_HTTP_REQUEST_PARSER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "plimsoll/runtime/http/request_head.h"

namespace plimsoll::http {

struct ParserLimits {
  size_t max_head_bytes = 16 << 10;   // request line and fields, line ends included
  size_t max_target_bytes = 8 << 10;  // RFC 9110 4.1 recommends at least 8000
  size_t max_fields = 100;
  uint64_t max_body_bytes = 4 << 20;
};

class RequestParser {
 public:
  enum State : uint8_t { kNeedMore, kDone, kBad };

  struct Result {
    State state;
    int status;          // kBad: what to answer
    const char* reason;  // kBad: one plain sentence for that answer's body
    size_t head_bytes;   // kDone: where the body begins
  };

  explicit RequestParser(const ParserLimits& limits) : limits_(limits) {}

  // Tries to complete the head that begins at input[0].
  Result Parse(std::string_view input, RequestHead& head);

  // Forgets the request, so that the next Parse begins another.
  void Reset() { line_start_ = 0; }

 private:
  Result ParseRequestLine(std::string_view line, RequestHead& head) const;
  Result ParseField(std::string_view line, RequestHead& head) const;
  Result Interpret(RequestHead& head) const;

  ParserLimits limits_;
  size_t line_start_ = 0;  // where the first line not yet seen complete begins
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_REQUEST_PARSER_H_
