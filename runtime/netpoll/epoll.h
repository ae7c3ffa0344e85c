// The EpollPoller waits in one edge-triggered epoll for the whole process.
//
//   static netpoll::EpollPoller poller;
//   if (absl::Status s = poller.Start(); !s.ok()) ...
//   sched::SetIdleSource(&poller);
//
// Threads:   Open and Close on goroutines; the rest as sched::IdleSource says.
// Precision: nanoseconds by epoll_pwait2 (Linux 5.11), else milliseconds, rounded up.
#ifndef PLIMSOLL_RUNTIME_NETPOLL_EPOLL_H_
#define PLIMSOLL_RUNTIME_NETPOLL_EPOLL_H_

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/runtime/netpoll/desc_pool.h"
#include "plimsoll/runtime/netpoll/poller.h"

namespace plimsoll::netpoll {

class EpollPoller final : public sched::IdleSource {
 public:
  EpollPoller() = default;
  ~EpollPoller() override;

  // Makes the epoll and the eventfd. Once, before anything else.
  absl::Status Start();

  absl::StatusOr<PollDesc*> Open(int fd);
  void Close(PollDesc* desc) { pool_.Release(desc); }

  void Poll(int64_t wait_ns, sched::GList& ready) override;
  void Break() override;
  bool HasWaiters() const override { return PollDesc::Waiters() > 0; }

 private:
  int epoll_fd_ = -1;
  int event_fd_ = -1;
  std::atomic<bool> break_sent_{false};  // written, and not yet read by a blocking Poll
  std::atomic<bool> have_pwait2_{true};
  DescPool pool_;
};

static_assert(Poller<EpollPoller>);

}  // namespace plimsoll::netpoll

#endif  // PLIMSOLL_RUNTIME_NETPOLL_EPOLL_H_
