// ServeConnection answers the requests of one connection, in order, until it ends.
//
//   ServeConnection(stream, state, handler, limits);   // the body of the connection's goroutine
//
// Batching: what was answered goes out in one write when there is no further request in the read
//           buffer, that is, before every read that could block. So one request costs one read and
//           one write, and sixteen pipelined ones cost the same.
// Memory:   while it waits for a request an idle connection holds no buffer.
// Slow clients: a head must be complete head_timeout after its first byte; each read of a body and
//           each write has its own timeout; between requests there is idle_timeout.
// End:      connection_state.h: what a server that ends asks of its connections.
// Errors:   a malformed request is answered and the connection closed; an exception of the handler
//           is reported on stderr and answered with 500, and the connection closed.
// Close:    where the client may still be sending, we end our side and read its bytes for a moment:
//           a close over unread bytes resets the connection, and the answer would be lost.
#ifndef PLIMSOLL_RUNTIME_HTTP_CONNECTION_H_
#define PLIMSOLL_RUNTIME_HTTP_CONNECTION_H_

#include <cstddef>
#include <functional>

#include "absl/time/time.h"
#include "plimsoll/runtime/http/connection_state.h"
#include "plimsoll/runtime/http/request.h"
#include "plimsoll/runtime/http/request_parser.h"
#include "plimsoll/runtime/http/response_writer.h"
#include "plimsoll/runtime/http/stream.h"

namespace plimsoll::http {

// Answers one request. Called on the connection's goroutine, by many at once.
using Handler = std::function<void(Request& request, ResponseWriter& response)>;

struct ConnectionLimits {
  ParserLimits parser;
  absl::Duration head_timeout = absl::Seconds(10);
  absl::Duration idle_timeout = absl::Minutes(2);
  // How old a connection without a request gets before a server that drains closes it: room for one
  // lost packet and its repetition, since who connects sends at once.
  absl::Duration first_request = absl::Seconds(1);
  absl::Duration body_timeout = absl::Seconds(30);
  absl::Duration write_timeout = absl::Seconds(30);
  size_t read_buffer_bytes = 4 << 10;  // grows up to parser.max_head_bytes for a long head
};

void ServeConnection(Stream& stream, ConnectionState& state, const Handler& handler,
                     const ConnectionLimits& limits);

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_CONNECTION_H_
