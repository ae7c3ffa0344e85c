// A ConnectionState is what a server that drains and one of its connections agree on: nobody's
// request is cut off, and nobody waits for a request that may not come.
//
//   kActive --BecomeIdle()--> kIdle --BecomeActive()--> kActive      the connection
//                               |
//                               +--InterruptIdle()--> kInterrupted   the server, when it drains
//
// The server sets its draining flag and then interrupts; the connection becomes idle and then looks
// at the flag. Both are seq_cst, so at least one sees the other: by that order no connection goes
// to sleep on a server that has already made its round.
#ifndef PLIMSOLL_RUNTIME_HTTP_CONNECTION_STATE_H_
#define PLIMSOLL_RUNTIME_HTTP_CONNECTION_STATE_H_

#include <atomic>
#include <cstdint>

namespace plimsoll::http {

class ConnectionState {
 public:
  // `draining` is the server's, and outlives this.
  explicit ConnectionState(const std::atomic<bool>& draining) : draining_(draining) {}

  // True once the server stops: answer what was begun, and say "Connection: close".
  bool draining() const { return draining_.load(std::memory_order_seq_cst); }

  // Between two requests. False: the server drains, close.
  bool BecomeIdle() {
    state_.store(kIdle, std::memory_order_seq_cst);
    return !draining();
  }

  // A request begins. False: the server interrupted first, close.
  bool BecomeActive() {
    uint32_t idle = kIdle;
    return state_.compare_exchange_strong(idle, kActive, std::memory_order_seq_cst);
  }

  // The server's: true when the connection waits for a request and must now be woken to close.
  bool InterruptIdle() {
    uint32_t idle = kIdle;
    return state_.compare_exchange_strong(idle, kInterrupted, std::memory_order_seq_cst);
  }

 private:
  enum : uint32_t { kActive, kIdle, kInterrupted };
  const std::atomic<bool>& draining_;
  std::atomic<uint32_t> state_{kActive};
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_CONNECTION_STATE_H_
