#include "plimsoll/runtime/netpoll/netpoll.h"

#include "plimsoll/runtime/netpoll/epoll.h"

namespace plimsoll::netpoll {
namespace {

// Never destroyed: threads wait in it until the process ends.
EpollPoller* g_poller = nullptr;

}  // namespace

absl::StatusOr<sched::IdleSource*> Start() {
  if (g_poller == nullptr) {
    auto* poller = new EpollPoller;
    if (absl::Status s = poller->Start(); !s.ok()) {
      delete poller;
      return s;
    }
    g_poller = poller;
  }
  return static_cast<sched::IdleSource*>(g_poller);
}

absl::StatusOr<PollDesc*> Open(int fd) {
  if (g_poller == nullptr) {
    return absl::FailedPreconditionError("netpoll: the poller is not running; call inside Main");
  }
  return g_poller->Open(fd);
}

void Close(PollDesc* desc) { g_poller->Close(desc); }

}  // namespace plimsoll::netpoll
