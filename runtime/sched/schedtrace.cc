#include "plimsoll/runtime/sched/schedtrace.h"

#include <unistd.h>

#include <atomic>
#include <cstring>

#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/sched/internal.h"

namespace plimsoll::sched {
namespace {

constinit std::atomic<int64_t> interval_ns{0};
constinit std::atomic<int64_t> began_ns{0};
constinit std::atomic<int64_t> next_ns{0};

// One write of a line that a thousand Ps make longer than RawText is.
class Line {
 public:
  template <typename... Parts>
  void Add(const Parts&... parts) {
    base::RawText text;
    (text.Add(parts), ...);
    const std::string_view v = text.view();
    if (v.size() > sizeof(buffer_) - size_) return;
    memcpy(buffer_ + size_, v.data(), v.size());
    size_ += v.size();
  }
  void Write() { base::RawWrite(STDERR_FILENO, {buffer_, size_}); }

 private:
  char buffer_[kMaxProcs * 28 + 512];  // two numbers a P
  size_t size_ = 0;
};

}  // namespace

void SetSchedTrace(int64_t interval_ms) {
  const int64_t now = NowNanos();
  began_ns.store(now, std::memory_order_relaxed);
  next_ns.store(now + interval_ms * 1'000'000, std::memory_order_relaxed);
  interval_ns.store(interval_ms * 1'000'000, std::memory_order_relaxed);
}

bool SchedTracing() { return interval_ns.load(std::memory_order_relaxed) != 0; }

void PrintSchedTraceIfDue(int64_t now) {
  const int64_t interval = interval_ns.load(std::memory_order_relaxed);
  if (interval == 0 || now < next_ns.load(std::memory_order_relaxed)) return;
  next_ns.store(now + interval, std::memory_order_relaxed);
  const Stats s = GetStats();
  Line line;
  line.Add("SCHED ", (now - began_ns.load(std::memory_order_relaxed)) / 1'000'000,
           "ms: gomaxprocs=", s.procs, " idleprocs=", s.idle_procs, " threads=", s.threads,
           " spinningthreads=", s.spinning, " needspinning=0 idlethreads=", s.idle_threads,
           " runqueue=", sched.global_size.load(std::memory_order_relaxed), " [ ");
  for (int i = 0; i < s.procs; ++i) {
    const P* p = sched.all_ps[i];
    line.Add(p->queue.ring_size() + (p->queue.peek_next() != nullptr ? 1 : 0), " ");
  }
  line.Add("] schedticks=[ ");
  for (int i = 0; i < s.procs; ++i) {
    line.Add(sched.all_ps[i]->schedtick.load(std::memory_order_relaxed), " ");
  }
  line.Add("]\n");
  line.Write();
}

}  // namespace plimsoll::sched
