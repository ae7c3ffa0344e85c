// A ConnectionState is what a server that ends and one of its connections agree on: nobody's
// request is cut off, and nobody waits for a request that may not come.
//
//   kActive --BecomeIdle()--> kIdle --BecomeActive()--> kActive      the connection
//                               |
//                               +--InterruptIdle()--> kInterrupted   the server, when it drains
//
// The server sets its stage to kDraining and then interrupts; the connection becomes idle and then
// looks at the stage. Both are seq_cst, so at least one sees the other: by that order no connection
// goes to sleep on a server that has already made its round.
//
// A connection begins as kActive: its first request is on its way already, and it waits for that by
// itself, for a bounded time, whatever the stage (connection.h, first_request).
#ifndef PLIMSOLL_RUNTIME_HTTP_CONNECTION_STATE_H_
#define PLIMSOLL_RUNTIME_HTTP_CONNECTION_STATE_H_

#include <atomic>
#include <cstdint>

namespace plimsoll::http {

// How far the end of a server has come. It only grows.
enum class ServerStage : uint8_t {
  kServing,
  kParting,   // each connection's next answer is its last, and says "Connection: close"
  kDraining,  // and no connection waits for a request
};

class ConnectionState {
 public:
  // `stage` is the server's, and outlives this.
  explicit ConnectionState(const std::atomic<ServerStage>& stage) : stage_(stage) {}

  // Answer what was begun, and say "Connection: close".
  bool parting() const { return stage() >= ServerStage::kParting; }
  bool draining() const { return stage() >= ServerStage::kDraining; }

  // Between two requests. False: the server drains, close.
  bool BecomeIdle() {
    state_.store(kIdle, std::memory_order_seq_cst);
    return !draining();
  }

  // A request begins: its first byte is here. False: the server interrupted first.
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

  ServerStage stage() const { return stage_.load(std::memory_order_seq_cst); }

  const std::atomic<ServerStage>& stage_;
  std::atomic<uint32_t> state_{kActive};
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_CONNECTION_STATE_H_
