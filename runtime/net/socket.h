// A Socket is one non-blocking descriptor registered with the poller: what Conn and Listener share.
//
//   field         who may touch it
//   fd_, desc_    whoever holds a lock of mutex_ or a reference; given up by the last one out
//   seen_         holder of the read lock
//
// Invariants:
//   (1) The descriptor is closed once, by the last one out after Close(); never while a call that
//       was given its number is in progress, so a number is not reused under anybody's hands.
//   (2) seen_ == kEmpty: no byte was there when we looked last, and no edge that came since was
//   used.
//       So a reader may wait without looking (runtime/netpoll/DESIGN.md, "Short reads").
//   (3) errno is read in the noinline function that made the call: after a park its address may be
//       another thread's.
#ifndef PLIMSOLL_RUNTIME_NET_SOCKET_H_
#define PLIMSOLL_RUNTIME_NET_SOCKET_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/net/address.h"
#include "plimsoll/runtime/net/fd_mutex.h"
#include "plimsoll/runtime/netpoll/poll_desc.h"

namespace plimsoll::net::internal {

class Socket {
 public:
  // Takes over `fd`, which is non-blocking; closes it if it cannot be registered. `stream_tcp`: a
  // short read means that nothing is left. `remote` is kUnset for a listener.
  static absl::StatusOr<std::shared_ptr<Socket>> Adopt(int fd, bool stream_tcp, Address remote);

  Socket(int fd, netpoll::PollDesc* desc, bool stream_tcp, Address remote);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  absl::StatusOr<size_t> Read(std::span<char> buffer);
  absl::Status Write(std::string_view bytes);
  absl::Status AwaitReadable();
  absl::StatusOr<std::shared_ptr<Socket>> Accept();
  // Waits until a connect(2) in progress ends.
  absl::Status FinishConnect(std::string_view where);
  // Its last handle then ends it as CloseListening does: an engine may hold the file a moment
  // longer than we do, and the port is free at once all the same.
  void SetListening() { listening_ = true; }
  // Waits for `wait`, or until the socket is closed: then false.
  bool Rest(absl::Duration wait);

  void SetDeadline(netpoll::Mode mode, absl::Time deadline);
  void SetTimeout(netpoll::Mode mode, absl::Duration timeout);
  absl::Status CloseWrite();
  absl::Status Close();
  // Close of a listener: refuses connections from now on, not only when Accept has come back.
  absl::Status CloseListening();
  // The end of a listener that loses no connection: listener.h, StopHandshakes and EndQueue.
  absl::Status StopHandshakes();
  absl::Status EndQueue();

  absl::StatusOr<int> Option(int level, int name);

  Address local() const;
  const Address& remote() const { return remote_; }

 private:
  using Side = FdMutex::Side;
  enum class Seen : uint8_t {
    kFresh,    // nothing was tried yet; the first edge is still to come
    kEmpty,    // by (2)
    kPerhaps,  // there may be more
  };

  class Using;  // a lock or a reference, given back at the end of the scope

  std::string Where() const;
  absl::Status WaitStatus(netpoll::WaitResult result, std::string_view operation) const;
  void Destroy();

  const int fd_;
  netpoll::PollDesc* const desc_;
  const bool stream_tcp_;
  const Address remote_;
  bool listening_ = false;  // before anybody else has the socket
  Seen seen_ = Seen::kFresh;
  std::atomic<bool> queue_ends_{false};  // a listener's: the Accept that finds it empty closes
  FdMutex mutex_;
};

// A new non-blocking, close-on-exec socket for `address`.
absl::StatusOr<int> MakeSocket(const Address& address, std::string_view operation);

}  // namespace plimsoll::net::internal

#endif  // PLIMSOLL_RUNTIME_NET_SOCKET_H_
