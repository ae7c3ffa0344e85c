#include "plimsoll/runtime/net/accept_loop.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll::net {
namespace {

constexpr absl::Duration kFirstRest = absl::Milliseconds(5);
constexpr absl::Duration kLongestRest = absl::Milliseconds(200);
constexpr absl::Duration kBetweenReports = absl::Seconds(10);

// One descriptor that is there to be given up. An eventfd: an image from scratch has no /dev/null.
class Reserve {
 public:
  Reserve() { Take(); }
  ~Reserve() { Give(); }
  bool held() const { return fd_ >= 0; }
  void Take() {
    if (fd_ < 0) fd_ = eventfd(0, EFD_CLOEXEC);
  }
  void Give() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace

void AcceptLoop(const Listener& listener, const std::function<void(Conn)>& serve) {
  Reserve reserve;
  absl::Duration rest = kFirstRest;
  absl::Time report_after = absl::InfinitePast();
  uint64_t turned_away = 0, failures = 0;
  while (true) {
    absl::StatusOr<Conn> conn = listener.Accept();
    if (conn.ok()) {
      rest = kFirstRest;
      failures = 0;
      serve(*std::move(conn));
      continue;
    }
    if (absl::IsFailedPrecondition(conn.status())) return;  // closed

    const absl::Time now = absl::Now();
    if (now >= report_after) {
      report_after = now + kBetweenReports;
      base::RawLog("plimsoll: ", Text(conn.status()), "; the service goes on; ", turned_away,
                   " connections turned away so far");
    }
    if (++failures > 1 && reserve.held()) {
      // Resting did not help. The reserve's descriptor goes to one connection, and if none is left
      // for the reserve then, that connection is turned away.
      reserve.Give();
      absl::StatusOr<Conn> unlucky = listener.Accept();
      if (!unlucky.ok() && absl::IsFailedPrecondition(unlucky.status())) return;
      reserve.Take();
      if (unlucky.ok() && reserve.held()) {
        rest = kFirstRest;
        failures = 0;
        serve(*std::move(unlucky));
        continue;
      }
      if (unlucky.ok()) {
        unlucky->Close().IgnoreError();
        ++turned_away;
        reserve.Take();
        continue;
      }
    }
    if (!listener.Rest(rest)) return;
    rest = std::min(rest * 2, kLongestRest);
    reserve.Take();  // if another thread was faster with it
  }
}

}  // namespace plimsoll::net
