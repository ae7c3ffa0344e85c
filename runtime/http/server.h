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
// Shutdown:  stops accepting, closes idle connections, answers the requests that were begun with
//            "Connection: close", and waits. What is not done at the deadline is cut off.
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
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/http/connection.h"
#include "plimsoll/runtime/net/listener.h"

namespace plimsoll::http {

struct ServerOptions {
  ConnectionLimits limits;
  size_t max_connections = 100'000;  // more are turned away with 503
  ByteCount stack{0};                // of a connection's goroutine; 0: the default
};

class Server {
 public:
  explicit Server(Handler handler, ServerOptions options = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Accepts until Shutdown, or until the listener is closed.
  void Serve(const net::Listener& listener);

  // As above. OK: every request that was begun was answered, and every Serve has returned.
  // kDeadlineExceeded: how many connections were cut off.
  absl::Status Shutdown(absl::Duration deadline);

  size_t connections() const { return count_.load(std::memory_order_relaxed); }

 private:
  struct Session;

  void Accepted(net::Conn conn);
  void RunSession(Session& session);
  void Forget(Session& session);
  // Counts one out of active_; the caller touches the server no more.
  void Leave();
  bool WaitUntilNobodyIsLeft(absl::Duration at_most);

  const Handler handler_;
  const ServerOptions options_;
  std::atomic<bool> draining_{false};
  std::atomic<size_t> count_{0};   // sessions
  std::atomic<size_t> active_{0};  // sessions and Serve calls: who may still touch this object
  Channel<bool> drained_{1};       // gets a value whenever active_ falls to zero

  base::Mutex mu_;
  absl::flat_hash_set<Session*> sessions_ ABSL_GUARDED_BY(mu_);
  std::vector<net::Listener> listeners_ ABSL_GUARDED_BY(mu_);
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_SERVER_H_
