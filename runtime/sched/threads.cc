// How threads are made: Ms, and the runtime's own.

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/preempt.h"

namespace plimsoll::sched {
namespace {

// What goroutines' threads block: what the first thread blocked when the scheduler started.
sigset_t m_signal_mask;

void* ThreadOfM(void* arg) {
  M* m = static_cast<M*>(arg);
  pthread_sigmask(SIG_SETMASK, &m_signal_mask, nullptr);
  BecomeM(m, pthread_self());
  // A new M looks for work if there is a P for it; whoever asked for it may have found another by
  // now.
  if (P* p = TakeIdleP()) {
    AcquireP(m, p);
    m->spinning = true;
    sched.spinning.fetch_add(1, std::memory_order_seq_cst);
  }
  ScheduleLoop(m);
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  // The M stays, so that who holds its address finds it; a page.
  plimsoll_tls_m = nullptr;
  AskNoMore(m);
  RemoveAltStack(m->altstack);
  sched.own_threads.fetch_sub(1, std::memory_order_seq_cst);
  return nullptr;
}

// Signals are for goroutines' threads to take; the runtime's own threads block them all, but for
// SIGQUIT: where every M sits in a handler, somebody must still be able to tell what they do.
void* ThreadOfOurs(void* fn) {
  sigset_t quit;
  sigemptyset(&quit);
  sigaddset(&quit, SIGQUIT);
  pthread_sigmask(SIG_UNBLOCK, &quit, nullptr);
  return reinterpret_cast<void* (*)(void*)>(fn)(nullptr);
}

// A thread begins with all signals blocked, and takes some when it can: what runs before `fn` is
// the C library's and the sanitizers', and a handler there found ThreadSanitizer without its own
// state.
bool StartThread(void* (*fn)(void*), void* arg) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  sched.threads_in_making.fetch_add(1, std::memory_order_seq_cst);
  sched.own_threads.fetch_add(1, std::memory_order_seq_cst);
  const int rc = pthread_create(&thread, nullptr, fn, arg);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (rc != 0) sched.own_threads.fetch_sub(1, std::memory_order_seq_cst);
  sched.threads_in_making.fetch_sub(1, std::memory_order_seq_cst);
  if (rc == 0) {
    pthread_detach(thread);
    return true;
  }
  // Told at the 1st, 2nd, 4th, … failure: a pod at its pids.max would fill its log otherwise.
  const uint64_t failures = sched.thread_failures.fetch_add(1, std::memory_order_relaxed) + 1;
  if ((failures & (failures - 1)) == 0) {
    base::RawLog("plimsoll: a thread could not be made: ", base::ErrnoName(rc), " (", failures,
                 " times); work waits for the ", sched.m_count.load(std::memory_order_relaxed),
                 " there are; see pids.max and RLIMIT_NPROC");
  }
  return false;
}

bool MakeM() {
  CheckThreadLimit(1);
  M* m = NewM();
  if (m == nullptr) return false;
  if (StartThread(ThreadOfM, m)) return true;
  munmap(m, 4096);
  return false;
}

// Threads are made here and not by who needs one: pthread_create calls malloc, whose lock a
// preempted goroutine may hold.
void* Maker(void*) {
  int64_t pause_ns = -1;
  for (;;) {
    if (sched.maker_requests.load(std::memory_order_acquire) == 0) {
      base::FutexWait(sched.maker_requests, 0);
      continue;
    }
    // One thread for any number of requests: it looks for work, and wakes the next by itself.
    sched.maker_requests.store(0, std::memory_order_release);
    if (MakeM()) {
      pause_ns = -1;
      continue;
    }
    // No thread for now. The work waits for the Ms there are; look again after a while.
    pause_ns = pause_ns < 0 ? 10'000'000 : pause_ns < 1'000'000'000 ? pause_ns * 2 : pause_ns;
    std::atomic<uint32_t> nobody{0};
    base::FutexWait(nobody, 0, pause_ns);
    if (sched.idle_p_count.load(std::memory_order_relaxed) > 0 &&
        sched.idle_m_count.load(std::memory_order_relaxed) == 0) {
      sched.maker_requests.store(1, std::memory_order_release);
    }
  }
}

}  // namespace

// Ms live for ever: an idle one costs a parked thread, and is found again by its address.
M* NewM() {
  static_assert(sizeof(M) <= 4096);
  void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : ::new (memory) M;
}

bool StartOwnThread(void* (*fn)(void*)) {
  return StartThread(ThreadOfOurs, reinterpret_cast<void*>(fn));
}

void StartThreads(int ms) {
  pthread_sigmask(SIG_SETMASK, nullptr, &m_signal_mask);
  StartOwnThread(Maker);
  StartOwnThread(Sysmon);
  for (int i = 0; i < ms; ++i) {
    if (!MakeM()) break;
  }
}

void AskForThread() {
  if (sched.maker_requests.exchange(1, std::memory_order_acq_rel) == 0) {
    base::FutexWake(sched.maker_requests, 1);
  }
}

}  // namespace plimsoll::sched
