// RunDelay sums how long the threads of this process ran, and how long they waited to be run.
//
//   RunDelay threads;
//   RunDelay::Step step = threads.Poll(now_ns);     // since the Poll before
//
//   schedstat of a thread      ran 20 ms   waited 80 ms   since the Poll before, 100 ms ago
//                              -> saturated: it wanted a CPU all the time and got a fifth of one
//
// Why:      throttling by a group that we cannot see leaves no trace but this. Needs no privilege.
// Cost:     one pread a thread and a few calls more; descriptors are kept for the first
//           kKeptThreads, the rest cost three calls each. Allocates only when there are more
//           threads than ever before.
// Missing:  kernels without CONFIG_SCHED_INFO, and sandboxes: available is false. What a thread did
//           between the last Poll and its end is lost.
// Threads:  one at a time.
#ifndef PLIMSOLL_CONTAINER_RUN_DELAY_H_
#define PLIMSOLL_CONTAINER_RUN_DELAY_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace plimsoll::container {

class RunDelay {
 public:
  static constexpr size_t kKeptThreads = 64;
  // A thread that ran or waited for so much of the time wanted a CPU all along.
  static constexpr double kSaturated = 0.9;
  // The kernel counts a wait when it ends. Who waited half of the time most likely waits now, and
  // may have done so for a period of its quota, by default 100 ms; for a fifth of the interval at
  // most, lest a short one prove anything.
  static constexpr int64_t kWaitUnderWayNs = 100'000'000;

  struct Step {
    bool available = false;
    int threads = 0;
    int saturated = 0;    // threads
    uint64_t run_ns = 0;  // by all threads
    uint64_t wait_ns = 0;
    uint64_t saturated_run_ns = 0;  // by the saturated ones
  };

  // `task_dir` is for tests.
  explicit RunDelay(const std::string& task_dir = "/proc/self/task");
  ~RunDelay();
  RunDelay(const RunDelay&) = delete;
  RunDelay& operator=(const RunDelay&) = delete;

  // The first Poll, and a thread's first, measure from the thread's birth on; they say nothing of
  // saturation.
  Step Poll(int64_t now_ns);

 private:
  struct Thread {
    pid_t tid = 0;
    int fd = -1;  // kept, or -1
    bool seen = false;
    bool has_last = false;
    uint64_t run_ns = 0;
    uint64_t wait_ns = 0;
  };

  void ListThreads();
  Thread& Find(pid_t tid);
  bool ReadThread(Thread& thread, uint64_t* run_ns, uint64_t* wait_ns);

  int dir_fd_;                   // the task directory; -1: there is none
  std::vector<Thread> threads_;  // sorted by tid
  size_t kept_ = 0;
  int64_t last_ns_ = 0;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_RUN_DELAY_H_
