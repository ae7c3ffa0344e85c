// The IoUringPoller waits for readiness in one io_uring for the whole process.
//
//   static netpoll::IoUringPoller poller;
//   if (absl::Status s = poller.Start(); !s.ok()) ...       // refused: use the other engine
//   sched::SetIdleSource(&poller);
//
//   submission queue   one entry at a time, by whoever holds sq_mu_: arm, cancel, no-op
//   completion queue   read from shared memory, by whoever holds cq_mu_: no system call
//   io_uring_enter     to submit, and to wait: the blocking Poll alone, without a lock
//
// Each descriptor has one multishot poll request, from Open to Close. DESIGN.md, "io_uring".
//
// Threads:   Open and Close on goroutines; the rest as sched::IdleSource says.
// Precision: nanoseconds.
// Refusal:   Start says kUnimplemented or kPermissionDenied where the kernel or a filter does not
//            let us, and something else where it would but cannot (no memory, no descriptor).
#ifndef PLIMSOLL_RUNTIME_NETPOLL_IO_URING_H_
#define PLIMSOLL_RUNTIME_NETPOLL_IO_URING_H_

#include <linux/io_uring.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/netpoll/desc_pool.h"
#include "plimsoll/runtime/netpoll/poller.h"

namespace plimsoll::netpoll {

class IoUringPoller final : public sched::IdleSource {
 public:
  IoUringPoller() = default;
  ~IoUringPoller() override;

  // Makes the ring, and proves by a no-op that it may be used. Once, before anything else.
  absl::Status Start();

  absl::StatusOr<PollDesc*> Open(int fd);
  void Close(PollDesc* desc);

  void Poll(int64_t wait_ns, sched::GList& ready) override;
  void Break() override;
  bool HasWaiters() const override { return PollDesc::Waiters() > 0; }

 private:
  absl::Status Map(const io_uring_params& params);
  long SubmitLocked(const io_uring_sqe& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sq_mu_);
  long Arm(PollDesc* desc, uint32_t sequence);
  long SubmitNoOp();
  int Reap(bool blocking, sched::GList& ready);
  void Completed(const io_uring_cqe& completion, bool blocking, sched::GList& ready);

  int ring_fd_ = -1;
  void* rings_ = nullptr;  // both queues' heads, tails and the completions
  size_t rings_bytes_ = 0;
  io_uring_sqe* entries_ = nullptr;
  size_t entries_bytes_ = 0;

  // Within rings_. The kernel moves sq_head and cq_tail, we the others.
  std::atomic<uint32_t>* sq_tail_ = nullptr;
  std::atomic<uint32_t>* sq_flags_ = nullptr;
  std::atomic<uint32_t>* cq_head_ = nullptr;
  std::atomic<uint32_t>* cq_tail_ = nullptr;
  const io_uring_cqe* completions_ = nullptr;
  uint32_t* sq_array_ = nullptr;
  uint32_t sq_mask_ = 0;
  uint32_t cq_mask_ = 0;

  base::SpinLock sq_mu_;
  base::SpinLock cq_mu_;
  std::atomic<bool> break_sent_{false};  // and no blocking Poll has ended for it yet
  std::atomic<bool> blocked_{false};     // a Poll waits, or will without another look at the flag
  DescPool pool_;
};

static_assert(Poller<IoUringPoller>);

}  // namespace plimsoll::netpoll

#endif  // PLIMSOLL_RUNTIME_NETPOLL_IO_URING_H_
