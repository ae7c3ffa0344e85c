// A forked child has one thread, no P that anybody else would use, and maybe locks that are held
// for good. It may exec or _exit, and do what needs none of us; who calls the runtime is told
// (DESIGN.md, "A forked child").

#include <pthread.h>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/internal.h"

namespace plimsoll::sched {
namespace {

void MarkChild() {
  if (sched.started.load(std::memory_order_relaxed) == kNotStarted) return;
  sched.started.store(kForked, std::memory_order_relaxed);
  base::SetFatalHook(nullptr);
  // Who waits for a lock of ours waits for a thread that is not there.
  base::SetSpinLockWaitHook(FatalForked);
  if (M* m = CurrentM(); m != nullptr) {
    // Its goroutine must not return to us: the end of a sticky one comes by UnlockOsThread.
    m->g->is_sticky = true;
    plimsoll_tls_m = nullptr;
  }
  // A foreign thread's next call makes a proxy anew, and meets a check.
  plimsoll_tls_proxy = nullptr;
}

}  // namespace

void WatchForks() {
  const int rc = pthread_atfork(nullptr, nullptr, MarkChild);
  PLIMSOLL_CHECK(rc == 0, "pthread_atfork: ", base::ErrnoName(rc));
}

void FatalForked() {
  base::Fatal("runtime: a forked child calls the runtime: it may only exec or _exit");
}

}  // namespace plimsoll::sched
