// A Stream is what a connection of the server needs of its transport: TCP now, TLS or memory as
// well.
#ifndef PLIMSOLL_RUNTIME_HTTP_STREAM_H_
#define PLIMSOLL_RUNTIME_HTTP_STREAM_H_

#include <cstddef>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace plimsoll::http {

class Stream {
 public:
  virtual ~Stream() = default;

  // Reads at least one byte, blocking until there is one; 0 is the end of the peer's bytes.
  virtual absl::StatusOr<size_t> Read(std::span<char> buffer) = 0;

  // Blocks until Read would not; may return early.
  virtual absl::Status AwaitReadable() = 0;

  // Writes all of `bytes`.
  virtual absl::Status Write(std::string_view bytes) = 0;

  // From now on, a blocked Read or AwaitReadable ends with kDeadlineExceeded after `timeout`.
  virtual void SetReadTimeout(absl::Duration timeout) = 0;
  virtual void SetWriteTimeout(absl::Duration timeout) = 0;

  // Tells the peer that no byte will follow; reading goes on.
  virtual absl::Status CloseWrite() = 0;
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_STREAM_H_
