#include "plimsoll/runtime/netpoll/io_uring.h"

#include <errno.h>
#include <linux/time_types.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::netpoll {
namespace {

using base::RawSyscall;

constexpr uint64_t kBreakData = ~uint64_t{0};
constexpr uint64_t kNobodysData = ~uint64_t{1};
constexpr uint32_t kSubmissions = 8;  // one is in use at a time
constexpr uint32_t kCompletions = 4096;
constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
constexpr uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kWriteEvents = EPOLLOUT | EPOLLHUP | EPOLLERR;
// A wait with a timeout (5.11), and a cancel that says nothing when it succeeds (5.17).
constexpr uint32_t kNeeded =
    IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;

uint64_t EventData(uint32_t index, uint32_t sequence) { return uint64_t{index} << 32 | sequence; }

absl::Status Failed(std::string_view call, long error) {
  const std::string_view name = base::ErrnoName(static_cast<int>(error));
  return absl::Status(absl::ErrnoToStatusCode(static_cast<int>(error)),
                      absl::StrCat("netpoll: ", absl::string_view(call.data(), call.size()), ": ",
                                   absl::string_view(name.data(), name.size())));
}

template <typename T>
T* At(void* base, uint32_t offset) {
  return reinterpret_cast<T*>(static_cast<char*>(base) + offset);
}

}  // namespace

IoUringPoller::~IoUringPoller() {
  if (entries_ != nullptr) munmap(entries_, entries_bytes_);
  if (rings_ != nullptr) munmap(rings_, rings_bytes_);
  if (ring_fd_ >= 0) close(ring_fd_);
}

absl::Status IoUringPoller::Start() {
  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = kCompletions;
  // The kernel makes the descriptor close-on-exec.
  const long fd = RawSyscall(SYS_io_uring_setup, kSubmissions, &params);
  if (fd < 0) return Failed("io_uring_setup", -fd);
  ring_fd_ = static_cast<int>(fd);
  if ((params.features & kNeeded) != kNeeded) {
    return absl::UnimplementedError("netpoll: io_uring: the kernel is older than 5.17");
  }
  if (absl::Status s = Map(params); !s.ok()) return s;

  // A profile may allow the one call and refuse the other.
  if (const long r = SubmitNoOp(); r < 0) return Failed("io_uring_enter", -r);
  sched::GList none;
  if (Reap(/*blocking=*/true, none) != 1) {
    return absl::UnimplementedError("netpoll: io_uring: a no-op was not completed at once");
  }
  return absl::OkStatus();
}

absl::Status IoUringPoller::Map(const io_uring_params& params) {
  const size_t sq_bytes = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  const size_t cq_bytes = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  rings_bytes_ = std::max(sq_bytes, cq_bytes);
  void* rings = mmap(nullptr, rings_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                     ring_fd_, IORING_OFF_SQ_RING);
  if (rings == MAP_FAILED) return Failed("mmap", errno);
  rings_ = rings;
  entries_bytes_ = params.sq_entries * sizeof(io_uring_sqe);
  void* entries = mmap(nullptr, entries_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                       ring_fd_, IORING_OFF_SQES);
  if (entries == MAP_FAILED) return Failed("mmap", errno);
  entries_ = static_cast<io_uring_sqe*>(entries);

  sq_tail_ = At<std::atomic<uint32_t>>(rings_, params.sq_off.tail);
  sq_flags_ = At<std::atomic<uint32_t>>(rings_, params.sq_off.flags);
  sq_array_ = At<uint32_t>(rings_, params.sq_off.array);
  sq_mask_ = *At<uint32_t>(rings_, params.sq_off.ring_mask);
  cq_head_ = At<std::atomic<uint32_t>>(rings_, params.cq_off.head);
  cq_tail_ = At<std::atomic<uint32_t>>(rings_, params.cq_off.tail);
  completions_ = At<io_uring_cqe>(rings_, params.cq_off.cqes);
  cq_mask_ = *At<uint32_t>(rings_, params.cq_off.ring_mask);
  return absl::OkStatus();
}

// 0, or -errno and then nothing was submitted.
long IoUringPoller::SubmitLocked(const io_uring_sqe& entry) {
  const uint32_t tail = sq_tail_->load(std::memory_order_relaxed);
  entries_[tail & sq_mask_] = entry;
  sq_array_[tail & sq_mask_] = tail & sq_mask_;
  // release: pairs with the kernel's acquire of the tail
  sq_tail_->store(tail + 1, std::memory_order_release);
  long r;
  do {
    // EBUSY: completions have overflowed. To ask for events moves them back into the queue.
    const unsigned flags = (sq_flags_->load(std::memory_order_relaxed) & IORING_SQ_CQ_OVERFLOW) != 0
                               ? IORING_ENTER_GETEVENTS
                               : 0;
    r = RawSyscall(SYS_io_uring_enter, ring_fd_, 1, 0, flags, 0, 0);
  } while (r == -EINTR);
  if (r == 1) return 0;
  sq_tail_->store(tail, std::memory_order_release);  // taken back: the kernel has not read it
  return r < 0 ? r : -EAGAIN;
}

long IoUringPoller::SubmitNoOp() {
  io_uring_sqe entry{};
  entry.opcode = IORING_OP_NOP;
  entry.user_data = kBreakData;
  sched::NoPreempt guard;
  base::SpinLockHolder hold(sq_mu_);
  return SubmitLocked(entry);
}

long IoUringPoller::Arm(PollDesc* desc, uint32_t sequence) {
  io_uring_sqe entry{};
  entry.opcode = IORING_OP_POLL_ADD;
  entry.len = IORING_POLL_ADD_MULTI;  // edge-triggered, unless asked otherwise
  entry.poll32_events = kEvents;
  entry.user_data = EventData(desc->index(), sequence);
  sched::NoPreempt guard;
  base::SpinLockHolder hold(sq_mu_);
  // Under the lock that Close cancels under: after it nothing may be armed.
  if (desc->sequence() != sequence || desc->Check(Mode::kRead) == WaitResult::kClosed) return 0;
  entry.fd = desc->fd();
  return SubmitLocked(entry);
}

absl::StatusOr<PollDesc*> IoUringPoller::Open(int fd) {
  if (ring_fd_ < 0) {
    return absl::FailedPreconditionError("netpoll: the poller is not running; call inside Main");
  }
  // epoll_ctl refuses what is always ready; a poll request is made of it all the same.
  struct stat status;
  if (fstat(fd, &status) != 0) return Failed("fstat", errno);
  if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) return Failed("io_uring poll", EPERM);
  PollDesc* desc = pool_.Acquire();
  if (desc == nullptr) return absl::ResourceExhaustedError("netpoll: no memory for a descriptor");
  desc->set_fd(fd);
  // What a multishot poll tells is what the wake-up said, not what the file says: every arrival
  // claims urgent data, and none tells of an end that was there before. So no short read is
  // trusted.
  desc->MarkEnded();
  if (const long r = Arm(desc, desc->sequence()); r < 0) {
    pool_.Release(desc);
    return Failed("io_uring_enter", -r);
  }
  return desc;
}

void IoUringPoller::Close(PollDesc* desc) {
  // The request holds a reference to the file: until it is gone close(2) does not end a connection.
  // By ASYNC_CANCEL, which marks the request whoever is at it; POLL_REMOVE says EALREADY to an
  // event on its way, and leaves the request armed.
  io_uring_sqe entry{};
  entry.opcode = IORING_OP_ASYNC_CANCEL;
  entry.flags = IOSQE_CQE_SKIP_SUCCESS;
  entry.addr = EventData(desc->index(), desc->sequence());
  entry.user_data = kNobodysData;
  {
    sched::NoPreempt guard;
    base::SpinLockHolder hold(sq_mu_);
    long r;
    do {
      r = SubmitLocked(entry);
    } while (r == -EAGAIN || r == -EBUSY);
    PLIMSOLL_CHECK(r == 0, "netpoll: io_uring_enter: ", base::ErrnoName(static_cast<int>(-r)));
  }
  pool_.Release(desc);
}

void IoUringPoller::Poll(int64_t wait_ns, sched::GList& ready) {
  if (wait_ns == 0) {
    Reap(/*blocking=*/false, ready);
    return;
  }
  __kernel_timespec timeout{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
  io_uring_getevents_arg argument{};
  if (wait_ns > 0) argument.ts = reinterpret_cast<uintptr_t>(&timeout);
  while (true) {
    blocked_.store(true, std::memory_order_seq_cst);  // before the flag is looked at: Completed
    // seq_cst, and pairs with the exchange in Break: a Break that found the flag up, and so posted
    // nothing, is seen with all that came before it when we return to the scheduler.
    const bool broken = break_sent_.exchange(false, std::memory_order_seq_cst);
    if (Reap(/*blocking=*/true, ready) > 0 || broken) {
      blocked_.store(false, std::memory_order_relaxed);
      return;
    }
    const long r =
        RawSyscall(SYS_io_uring_enter, ring_fd_, 0, 1,
                   IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof(argument));
    PLIMSOLL_CHECK(r >= 0 || r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY,
                   "netpoll: io_uring_enter: ", base::ErrnoName(static_cast<int>(-r)));
    blocked_.store(false, std::memory_order_relaxed);
    // A signal: a timed wait goes back to the scheduler, which knows how long is left.
    if (wait_ns < 0 && r < 0) continue;
    break_sent_.exchange(false, std::memory_order_seq_cst);  // as above
    Reap(/*blocking=*/true, ready);
    return;
  }
}

void IoUringPoller::Break() {
  // seq_cst: pairs with the exchanges in Poll
  if (break_sent_.exchange(true, std::memory_order_seq_cst)) return;
  long r;
  do {
    r = SubmitNoOp();
  } while (r == -EAGAIN || r == -EBUSY);
  PLIMSOLL_CHECK(r == 0, "netpoll: io_uring_enter: ", base::ErrnoName(static_cast<int>(-r)));
}

// How many completions were taken.
int IoUringPoller::Reap(bool blocking, sched::GList& ready) {
  constexpr uint32_t kAtOnce = 128;
  io_uring_cqe taken[kAtOnce];
  if ((sq_flags_->load(std::memory_order_relaxed) & IORING_SQ_CQ_OVERFLOW) != 0) {
    RawSyscall(SYS_io_uring_enter, ring_fd_, 0, 0, IORING_ENTER_GETEVENTS, 0, 0);
  }
  uint32_t n;
  {
    if (blocking) {
      cq_mu_.lock();
    } else if (!cq_mu_.try_lock()) {
      return 0;  // somebody is at it
    }
    const uint32_t head = cq_head_->load(std::memory_order_relaxed);
    // acquire: pairs with the kernel's release of the tail
    n = std::min(cq_tail_->load(std::memory_order_acquire) - head, kAtOnce);
    for (uint32_t i = 0; i < n; ++i) taken[i] = completions_[(head + i) & cq_mask_];
    // release: the kernel may write over them from now on
    cq_head_->store(head + n, std::memory_order_release);
    cq_mu_.unlock();
  }
  for (uint32_t i = 0; i < n; ++i) Completed(taken[i], blocking, ready);
  return static_cast<int>(n);
}

void IoUringPoller::Completed(const io_uring_cqe& completion, bool blocking, sched::GList& ready) {
  const uint64_t data = completion.user_data;
  if (data == kNobodysData) return;
  if (data == kBreakData) {
    // It is for a thread that blocks, or is about to: posted anew. Who comes later sees the flag.
    // seq_cst: both loads, with the store and the exchange in Poll
    if (!blocking && blocked_.load(std::memory_order_seq_cst) &&
        break_sent_.load(std::memory_order_seq_cst)) {
      while (SubmitNoOp() < 0) base::CpuRelax();
    }
    return;
  }
  PollDesc* desc = pool_.Find(static_cast<uint32_t>(data >> 32));
  const uint32_t sequence = static_cast<uint32_t>(data);
  if (desc == nullptr || desc->sequence() != sequence) return;
  const bool armed = (completion.flags & IORING_CQE_F_MORE) != 0;
  if (completion.res != -ECANCELED) {
    // An error of the request: whoever waits tries the call, and hears of it there.
    const uint32_t is =
        completion.res >= 0 ? static_cast<uint32_t>(completion.res) : kReadEvents | kWriteEvents;
    if ((is & kReadEvents) != 0) {
      if (sched::G* g = desc->OnEdge(Mode::kRead)) ready.PushBack(g);
    }
    if ((is & kWriteEvents) != 0) {
      if (sched::G* g = desc->OnEdge(Mode::kWrite)) ready.PushBack(g);
    }
  }
  // The thread that armed it has ended, or completions overflowed. What came meanwhile is told by
  // the new request at once.
  if (!armed && (completion.res >= 0 || completion.res == -ECANCELED)) {
    while (true) {
      const long r = Arm(desc, sequence);
      if (r == 0) break;
      PLIMSOLL_CHECK(r == -EAGAIN || r == -EBUSY,
                     "netpoll: io_uring_enter: ", base::ErrnoName(static_cast<int>(-r)));
    }
  }
}

}  // namespace plimsoll::netpoll
