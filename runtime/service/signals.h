// TerminationSignals turns the first SIGTERM or SIGINT into a value, and the second into the end.
//
//   absl::StatusOr<TerminationSignals> signals = TerminationSignals::Install();
//   int which = *signals->Wait();        // parks until one comes
//   ... drain ...                        // a second signal meanwhile: _exit(128 + its number)
//
// Twice:    within 200 ms of the first it is the same request, and nothing more happens: Ctrl-C and
//           a supervisor's kill reach us both from the process group and from a forwarder before us
//           (plimsoll-init, timeout, a shell).
// PID 1:    the kernel gives process 1 no default action for these signals: without a handler they
//           do nothing. So they are always handled, whatever the process's number.
// Handler:  writes one byte to a socket of ours and nothing else; the second one needs no
//           scheduler, for it may be that which hangs.
// Threads:  Install once a process; Wait on one goroutine.
#ifndef PLIMSOLL_RUNTIME_SERVICE_SIGNALS_H_
#define PLIMSOLL_RUNTIME_SERVICE_SIGNALS_H_

#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "plimsoll/runtime/net/conn.h"

namespace plimsoll {

class TerminationSignals {
 public:
  static absl::StatusOr<TerminationSignals> Install();

  // The number of the first signal that came since Install.
  absl::StatusOr<int> Wait();

 private:
  explicit TerminationSignals(net::Conn conn) : conn_(std::move(conn)) {}
  net::Conn conn_;
};

// "SIGTERM", "SIGINT", or "a signal".
std::string_view SignalName(int number);

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SERVICE_SIGNALS_H_
