// A Server answers HTTP/1.1 requests, each connection on a goroutine of its own.
//
//   http::Server server([](http::Request&, http::ResponseWriter& response) {
//     response.Respond(200, "text/plain", "hello\n");
//   });
//   absl::StatusOr<net::Listener> listener = net::Listen(*net::Address::Parse(":8080"));
//   Go([&] { server.Serve(*listener); });
//   ...
//   absl::Status drained = server.Shutdown(absl::Seconds(20));
//
// Blocking:  Serve and Shutdown park; a handler may block as it likes.
// Bad input: answered with its status, or the connection closed; the server goes on. See
//            connection.h for slow clients, net/accept_loop.h for a lack of descriptors.
// Shutdown:  takes no connection any more but those that the kernel has taken, closes idle
//            connections, answers the requests that were begun with "Connection: close", and waits.
//            What is not done at the deadline is cut off. Why nobody who got in is turned away:
//            DESIGN.md, "The end".
// Lifetime:  the destructor shuts down with no patience and waits for every handler to return.
// Threads:   any. Serve may be called for several listeners.
#ifndef PLIMSOLL_RUNTIME_HTTP_SERVER_H_
#define PLIMSOLL_RUNTIME_HTTP_SERVER_H_

#include <atomic>
#include <cstddef>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "plimsoll/alloc/base/mutex.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/runtime/http/connection.h"
#include "plimsoll/runtime/http/connection_state.h"
#include "plimsoll/runtime/http/headcount.h"
#include "plimsoll/runtime/net/listener.h"

namespace plimsoll::http {

struct ServerOptions {
  ConnectionLimits limits;
  size_t max_connections = 100'000;  // more are turned away with 503
  ByteCount stack{0};                // of a connection's goroutine; 0: the default
  // How long a handshake that has begun may take to end before Shutdown closes the port: a round
  // trip to the farthest client. Where the kernel tells of one that is half done still, longer, by
  // late_handshake at most: a packet of it that was lost is repeated after a second. Each takes at
  // most half of what is left of Shutdown's patience.
  absl::Duration handshake = absl::Milliseconds(100);
  absl::Duration late_handshake = absl::Milliseconds(1500);
};

class Server {
 public:
  explicit Server(Handler handler, ServerOptions options = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Accepts until Shutdown, or until the listener is closed. The listener is closed when it
  // returns; where Shutdown came first that is at once.
  void Serve(const net::Listener& listener);

  // As above. OK: every request that was begun was answered, and every Serve has returned.
  // kDeadlineExceeded: how many connections were cut off.
  absl::Status Shutdown(absl::Duration patience);

  size_t connections() const { return count_.load(std::memory_order_relaxed); }

 private:
  struct Session;

  void Accepted(net::Conn conn);
  void RunSession(Session& session);
  void Forget(Session& session);
  void EndListeners(absl::Time deadline);

  const Handler handler_;
  const ServerOptions options_;
  std::atomic<ServerStage> stage_{ServerStage::kServing};
  std::atomic<size_t> count_{0};  // sessions
  Headcount accepting_;           // Serve calls
  Headcount inside_;              // sessions and Serve calls: who may still touch this object

  base::Mutex mu_;
  absl::flat_hash_set<Session*> sessions_ ABSL_GUARDED_BY(mu_);
  std::vector<net::Listener> listeners_ ABSL_GUARDED_BY(mu_);
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_SERVER_H_
