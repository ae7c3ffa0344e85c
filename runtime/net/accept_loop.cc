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
constexpr absl::Duration kBetweenBursts = absl::Seconds(1);

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

// What stderr is told of the clients that found no descriptor left.
class TurnedAway {
 public:
  void Add() { ++count_; }

  // Accepting has failed.
  void TellTrouble(std::string_view why) {
    const absl::Time now = absl::Now();
    if (now < trouble_after_) return;
    trouble_after_ = now + kBetweenReports;
    base::RawLog("plimsoll: ", why, "; the service goes on; ", base::Counted{count_, "connection"},
                 " turned away so far");
    told_ = count_;
  }

  // A connection was accepted. Where descriptors come and go a burst can be of one client: what
  // ends too soon after the last is told with the next, or at the end.
  void TellBurst() {
    if (count_ == told_) [[likely]]
      return;
    const absl::Time now = absl::Now();
    if (now < burst_after_) return;
    burst_after_ = now + kBetweenBursts;
    Tell("accepting again; ", " so far");
  }

  void TellEnd() {
    if (count_ != told_) Tell("closed; ", " in all");
  }

 private:
  void Tell(std::string_view what, std::string_view until) {
    base::RawLog("plimsoll: net: ", what, base::Counted{count_, "connection"},
                 " turned away for want of descriptors", until);
    told_ = count_;
  }

  uint64_t count_ = 0, told_ = 0;
  absl::Time trouble_after_ = absl::InfinitePast(), burst_after_ = absl::InfinitePast();
};

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace

void AcceptLoop(const Listener& listener, const std::function<void(Conn)>& serve) {
  Reserve reserve;
  absl::Duration rest = kFirstRest;
  TurnedAway turned_away;
  uint64_t failures = 0;
  while (true) {
    absl::StatusOr<Conn> conn = listener.Accept();
    if (conn.ok()) {
      rest = kFirstRest;
      failures = 0;
      turned_away.TellBurst();
      serve(*std::move(conn));
      continue;
    }
    if (absl::IsFailedPrecondition(conn.status())) break;  // closed
    turned_away.TellTrouble(Text(conn.status()));
    if (++failures > 1 && reserve.held()) {
      // Resting did not help. The reserve's descriptor goes to one connection, and if none is left
      // for the reserve then, that connection is turned away.
      reserve.Give();
      absl::StatusOr<Conn> unlucky = listener.Accept();
      if (!unlucky.ok() && absl::IsFailedPrecondition(unlucky.status())) break;
      reserve.Take();
      if (unlucky.ok() && reserve.held()) {
        // Often the first after a burst: accept(2) wants a descriptor before it looks whether
        // anybody waits, so that is where we park once the last was turned away.
        rest = kFirstRest;
        failures = 0;
        turned_away.TellBurst();
        serve(*std::move(unlucky));
        continue;
      }
      if (unlucky.ok()) {
        unlucky->Close().IgnoreError();
        turned_away.Add();
        reserve.Take();
        continue;
      }
    }
    if (!listener.Rest(rest)) break;
    rest = std::min(rest * 2, kLongestRest);
    reserve.Take();  // if another thread was faster with it
  }
  turned_away.TellEnd();
}

}  // namespace plimsoll::net
