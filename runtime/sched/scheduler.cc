// Finding a runnable goroutine, idling, and waking. The protocol is DESIGN.md's "Waking".

#include "plimsoll/runtime/sched/scheduler.h"

#include <cxxabi.h>
#include <errno.h>
#include <sys/mman.h>

#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/sanitizer.h"

namespace plimsoll::sched {
namespace {

// Until the poller is given, and in tests without one: only waits, and is broken.
class FutexSource : public IdleSource {
 public:
  void Poll(int64_t wait_ns, GList&) override {
    if (wait_ns == 0) return;
    if (word_.load(std::memory_order_acquire) == 0) base::FutexWait(word_, 0, wait_ns);
    word_.exchange(0, std::memory_order_acquire);
  }
  void Break() override {
    word_.store(1, std::memory_order_release);
    base::FutexWake(word_, 1);
  }
  bool HasWaiters() const override { return false; }

 private:
  std::atomic<uint32_t> word_{0};
};
// Never destroyed: Ms look there while the process ends.
FutexSource& DefaultSource() {
  alignas(FutexSource) static char storage[sizeof(FutexSource)];
  static FutexSource* source = ::new (storage) FutexSource;
  return *source;
}

void FullFence() {
  // TSan does not know fences; what it checks here goes through the seq_cst operations beside this
  // one.
#pragma GCC diagnostic push
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif
  std::atomic_thread_fence(std::memory_order_seq_cst);
#pragma GCC diagnostic pop
}

uint64_t NextRandom(P* p) {
  uint64_t x = p->random;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return p->random = x;
}

int Gcd(int a, int b) {
  while (b != 0) {
    const int t = a % b;
    a = b;
    b = t;
  }
  return a;
}

// Calls visit(P*) for each P once, from a random one by a random step that is coprime to their
// number, until it returns non-null.
template <typename Visit>
G* VisitInRandomOrder(P* mine, Visit&& visit) {
  const int n = sched.procs.load(std::memory_order_acquire);
  const uint64_t r = NextRandom(mine);
  int at = static_cast<int>((r >> 32) % static_cast<uint64_t>(n));
  int step = 1 + static_cast<int>((r & 0xffffffff) % static_cast<uint64_t>(n));
  while (Gcd(step, n) != 1) ++step;
  for (int i = 0; i < n; ++i) {
    if (G* g = visit(sched.all_ps[at])) return g;
    at = (at + step) % n;
  }
  return nullptr;
}

// From the global queue: one to run, and a fair share of the rest for this P.
G* TakeGlobal(P* p, int32_t max) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu) {
  const int32_t size = sched.global.size();
  if (size == 0) return nullptr;
  int32_t n = size / sched.procs.load(std::memory_order_relaxed) + 1;
  if (n > size) n = size;
  if (max > 0 && n > max) n = max;
  constexpr int32_t kHalfRing = 128;
  if (n > kHalfRing) n = kHalfRing;
  G* first = sched.global.PopFront();
  const auto overflow = [](G**, uint32_t) {
    PLIMSOLL_CHECK(false, "half a ring does not fit into an empty one");
  };
  // Only ever called with an empty ring or for one G.
  for (int32_t i = 1; i < n; ++i) p->queue.PutBack(sched.global.PopFront(), overflow);
  sched.global_size.store(sched.global.size(), std::memory_order_relaxed);
  return first;
}

void CountSwitch(P* p, bool new_slice) {
  if (new_slice) {
    p->schedtick.store(p->schedtick.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  p->stat_switches.store(p->stat_switches.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
}

// Lets this M stop looking for work.
void StopSpinning(M* m) {
  m->spinning = false;
  const int32_t before = sched.spinning.fetch_sub(1, std::memory_order_seq_cst);
  PLIMSOLL_CHECK(before > 0, "more Ms stopped spinning than started");
}

// This M found work: it no longer looks, and if it was the last that did, another one should.
void FoundWhileSpinning(M* m) {
  StopSpinning(m);
  WakeIfIdle();
}

G* StealWork(M* m, P* p) {
  constexpr int kRounds = 4;
  for (int round = 0; round < kRounds; ++round) {
    const bool last = round == kRounds - 1;
    G* g = VisitInRandomOrder(p, [&](P* victim) -> G* {
      if (victim == p) return nullptr;
      if (last && victim->next_when.load(std::memory_order_relaxed) != kNever) {
        RunTimers(m, victim, NowNanos());
        bool from_next;
        if (G* ready = p->queue.Get(&from_next)) return ready;
      }
      if (last && sched.may_spin && victim->queue.peek_next() != nullptr &&
          victim->queue.ring_size() == 0) {
        // Its owner is about to run it: readied a moment ago, by one that will soon park. Taking it
        // away would only bounce it between cores, so the owner gets 3 us (go-semantics P3).
        const int64_t until = NowNanos() + 3000;
        while (NowNanos() < until && victim->queue.peek_next() != nullptr) base::CpuRelax();
      }
      G* stolen = victim->queue.StealInto(p->queue, last);
      if (stolen != nullptr) {
        p->stat_steals.store(p->stat_steals.load(std::memory_order_relaxed) + 1,
                             std::memory_order_relaxed);
        p->stat_stolen.store(
            p->stat_stolen.load(std::memory_order_relaxed) + 1 + p->queue.ring_size(),
            std::memory_order_relaxed);
      }
      return stolen;
    });
    if (g != nullptr) return g;
  }
  return nullptr;
}

// Puts this M to sleep until StartM gives it a P.
void StopM(M* m) {
  PLIMSOLL_DCHECK(m->p == nullptr && !m->spinning);
  {
    base::SpinLockHolder hold(sched.mu);
    m->idle_link = sched.idle_ms;
    sched.idle_ms = m;
    sched.idle_m_count.fetch_add(1, std::memory_order_relaxed);
  }
  // acquire: pairs with the release in StartM; next_p and spinning were written before
  while (m->park_word.load(std::memory_order_acquire) == 0) base::FutexWait(m->park_word, 0);
  m->park_word.store(0, std::memory_order_relaxed);
  AcquireP(m, m->next_p);
  m->next_p = nullptr;
}

// Gives this M's P to the idle list. Requires mu.
void ReleasePLocked(M* m) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu) {
  P* p = m->p;
  m->p = nullptr;
  p->status.store(PStatus::kIdle, std::memory_order_relaxed);
  p->idle_link = sched.idle_ps;
  sched.idle_ps = p;
  // seq_cst: an idle P must be seen by whoever queued work before our last look (WakeIfIdle)
  sched.idle_p_count.fetch_add(1, std::memory_order_seq_cst);
}

P* TakeIdlePLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu) {
  P* p = sched.idle_ps;
  if (p == nullptr) return nullptr;
  sched.idle_ps = p->idle_link;
  p->idle_link = nullptr;
  sched.ps_taken.fetch_add(1, std::memory_order_seq_cst);
  sched.idle_p_count.fetch_sub(1, std::memory_order_seq_cst);
  return p;
}

// Finds a goroutine for this M's P; sleeps, without a P, while there is none.
G* FindRunnable(M* m) {
top:
  if (sched.frozen.load(std::memory_order_relaxed)) StayFrozen();
  if (m->p == nullptr) StopM(m);
  P* p = m->p;

  if (G* g = PickLocal(m, p)) return g;

  // Whoever waits for a descriptor comes before other Ps' work: their wait is over already.
  if (sched.source->HasWaiters() && sched.last_poll_ns.load(std::memory_order_relaxed) != 0) {
    GList ready;
    sched.source->Poll(0, ready);
    if (G* g = ready.PopFront()) {
      g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
      InjectList(m, ready);
      CountSwitch(p, true);
      return g;
    }
  }

  // Look at other Ps, but with at most half as many looking as are busy.
  const int procs = sched.procs.load(std::memory_order_relaxed);
  if (procs > 1 &&
      (m->spinning || 2 * sched.spinning.load(std::memory_order_relaxed) <
                          procs - sched.idle_p_count.load(std::memory_order_relaxed))) {
    if (!m->spinning) {
      m->spinning = true;
      sched.spinning.fetch_add(1, std::memory_order_seq_cst);
    }
    if (G* g = StealWork(m, p)) {
      CountSwitch(p, true);
      return g;
    }
  }

  // Nothing: give the P up, unless something came to the global queue.
  {
    sched.mu.lock();
    G* g = TakeGlobal(p, 0);
    if (g != nullptr) {
      sched.mu.unlock();
      CountSwitch(p, true);
      return g;
    }
    ReleasePLocked(m);
    sched.mu.unlock();
  }

  // By (2): stop spinning first, then look at everything once more. A goroutine queued between our
  // last look and StopSpinning found us in the count, and so woke nobody.
  if (m->spinning) {
    StopSpinning(m);
    if (WorkSomewhere()) {
      if (P* again = TakeIdleP()) {
        AcquireP(m, again);
        m->spinning = true;
        sched.spinning.fetch_add(1, std::memory_order_seq_cst);
        goto top;
      }
    }
  }

  // Wait: in the idle source if nobody does, else on our own word.
  const int64_t earliest = EarliestTimer();
  if (sched.last_poll_ns.exchange(0, std::memory_order_seq_cst) != 0) {
    // Until here poll_until is kNever, and whoever arms a timer breaks our wait. It must then be
    // the very deadline we wait for: with an earlier one there, a timer armed between the two tells
    // nobody.
    const int64_t deadline = EarliestTimer();
    sched.poll_until.store(deadline, std::memory_order_seq_cst);
    const int64_t now = NowNanos();
    int64_t wait = -1;
    if (deadline != kNever) wait = deadline > now ? deadline - now : 0;
    if (WorkSomewhere()) wait = 0;
    // Where it cannot be told whether anybody could wake us, ask again in a while.
    if (wait < 0 && !CheckDeadlock()) wait = 10'000'000;
    GList ready;
    if (wait != 0 || sched.source->HasWaiters()) sched.source->Poll(wait, ready);
    sched.poll_until.store(kNever, std::memory_order_relaxed);
    sched.last_poll_ns.store(NowNanos(), std::memory_order_seq_cst);
    P* again = TakeIdleP();
    if (again == nullptr) {
      InjectList(m, ready);
    } else {
      AcquireP(m, again);
      if (G* g = ready.PopFront()) {
        g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
        InjectList(m, ready);
        CountSwitch(again, true);
        return g;
      }
      if (!m->spinning) {
        m->spinning = true;
        sched.spinning.fetch_add(1, std::memory_order_seq_cst);
      }
    }
    goto top;
  }
  // Another M waits in the source. If it would wake too late for a timer of ours, tell it.
  if (earliest != kNever && sched.poll_until.load(std::memory_order_seq_cst) > earliest) {
    sched.source->Break();
  }
  // The one in the source went there while others ran: who goes to sleep last asks for a deadlock.
  // Where it cannot tell, the other one is to ask again in a while.
  if (earliest == kNever && !CheckDeadlock()) sched.source->Break();
  StopM(m);
  goto top;
}

}  // namespace

bool WorkSomewhere() {
  if (sched.global_size.load(std::memory_order_seq_cst) != 0) return true;
  const int n = sched.procs.load(std::memory_order_acquire);
  for (int i = 0; i < n; ++i) {
    if (!sched.all_ps[i]->queue.Empty()) return true;
  }
  return false;
}

void GList::PushBack(G* g) {
  g->link = nullptr;
  if (tail_ == nullptr) {
    head_ = g;
  } else {
    tail_->link = g;
  }
  tail_ = g;
  ++size_;
}

G* GList::PopFront() {
  G* g = head_;
  if (g == nullptr) return nullptr;
  head_ = g->link;
  if (head_ == nullptr) tail_ = nullptr;
  g->link = nullptr;
  --size_;
  return g;
}

void SetIdleSource(IdleSource* source) {
  PLIMSOLL_CHECK(!sched.started.load(std::memory_order_relaxed),
                 "SetIdleSource after the scheduler has started");
  sched.source = source;
}

stack::StackPool& Stacks() { return sched.stacks; }

G* PickLocal(M* m, P* p) {
  if (sched.frozen.load(std::memory_order_relaxed)) return nullptr;
  const uint32_t tick = p->schedtick.load(std::memory_order_relaxed);
  // Two goroutines that ready each other for ever must not keep the global queue waiting.
  if (tick % 61 == 0 && sched.global_size.load(std::memory_order_relaxed) > 0) {
    G* g;
    {
      base::SpinLockHolder hold(sched.mu);
      g = TakeGlobal(p, 1);
    }
    if (g != nullptr) {
      CountSwitch(p, true);
      return g;
    }
  }
  if (const int64_t when = p->next_when.load(std::memory_order_relaxed); when != kNever) {
    if (m->g->is_system_stack) {
      RunTimers(m, p, NowNanos());
    } else if (p->stat_switches.load(std::memory_order_relaxed) % 8 == 0 && when <= NowNanos()) {
      // Not here: the goroutine that parks may hold a lock until its commit has run, and a timer's
      // function may want it. g0 runs the commit first. (The clock costs more than a switch, so it
      // is asked at every eighth one only.)
      return &m->g0;
    }
  }
  bool from_next = false;
  G* g;
  if (p->preempt.load(std::memory_order_relaxed)) {
    // The slice is over: whoever readies whom, the ring goes first.
    p->preempt.store(false, std::memory_order_relaxed);
    g = p->queue.GetFromRing();
    if (g == nullptr) g = p->queue.Get(&from_next);
    from_next = false;
  } else {
    g = p->queue.Get(&from_next);
  }
  if (g != nullptr) {
    CountSwitch(p, !from_next);
    return g;
  }
  if (sched.global_size.load(std::memory_order_relaxed) > 0) {
    {
      base::SpinLockHolder hold(sched.mu);
      g = TakeGlobal(p, 0);
    }
    if (g != nullptr) CountSwitch(p, true);
  }
  return g;
}

bool PutLocal(P* p, G* g, bool next) {
  const auto overflow = [](G** batch, uint32_t n) {
    GList list;
    for (uint32_t i = 0; i < n; ++i) list.PushBack(batch[i]);
    PutGlobalList(list);
  };
  if (!next) {
    p->queue.PutBack(g, overflow);
    return true;
  }
  return p->queue.PutNext(g, overflow) || p->queue.ring_size() > 0;
}

void PutGlobal(G* g) {
  base::SpinLockHolder hold(sched.mu);
  sched.global.PushBack(g);
  sched.global_size.store(sched.global.size(), std::memory_order_relaxed);
}

void PutGlobalList(GList& list) {
  base::SpinLockHolder hold(sched.mu);
  while (G* g = list.PopFront()) sched.global.PushBack(g);
  sched.global_size.store(sched.global.size(), std::memory_order_relaxed);
}

void InjectList(M* m, GList& list) {
  int n = list.size();
  if (n == 0) return;
  P* p = m != nullptr ? m->p : nullptr;
  if (p == nullptr) {
    GList runnable;
    while (G* g = list.PopFront()) {
      g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
      runnable.PushBack(g);
    }
    PutGlobalList(runnable);
  } else {
    while (G* g = list.PopFront()) {
      g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
      PutLocal(p, g, /*next=*/false);
    }
  }
  WakeIfIdle();
}

void WakeIfIdle() {
  // By (2): the queue store before this fence, the two loads after it. Pairs with the seq_cst
  // fetch_sub of StopSpinning, after which the sleeper looks at the queues.
  FullFence();
  if (sched.idle_p_count.load(std::memory_order_relaxed) == 0) return;
  if (sched.spinning.load(std::memory_order_relaxed) != 0) return;
  int32_t none = 0;
  if (!sched.spinning.compare_exchange_strong(none, 1, std::memory_order_seq_cst)) return;
  StartM(nullptr, /*spinning=*/true);
}

P* TakeIdleP() {
  P* p;
  {
    base::SpinLockHolder hold(sched.mu);
    p = TakeIdlePLocked();
  }
  return p;
}

void AcquireP(M* m, P* p) {
  PLIMSOLL_DCHECK(m->p == nullptr && p != nullptr);
  m->p = p;
  p->status.store(PStatus::kRunning, std::memory_order_relaxed);
  if (sched.sysmon_sleeps.load(std::memory_order_relaxed) != 0) WakeSysmon();
}

void StartM(P* p, bool spinning) {
  M* m = nullptr;
  {
    base::SpinLockHolder hold(sched.mu);
    if (p == nullptr) p = TakeIdlePLocked();
    if (p != nullptr) {
      m = sched.idle_ms;
      if (m != nullptr) {
        sched.idle_ms = m->idle_link;
        sched.idle_m_count.fetch_sub(1, std::memory_order_relaxed);
      } else {
        p->status.store(PStatus::kIdle, std::memory_order_relaxed);
        p->idle_link = sched.idle_ps;
        sched.idle_ps = p;
        sched.idle_p_count.fetch_add(1, std::memory_order_seq_cst);
      }
    }
  }
  if (m == nullptr) {
    if (spinning) sched.spinning.fetch_sub(1, std::memory_order_seq_cst);
    // There is a P and no thread for it: the P waits in the idle list, and a new M will look there.
    // The M in the idle source, if there is one, is a thread too, and awake sooner.
    if (p != nullptr) {
      if (sched.last_poll_ns.load(std::memory_order_seq_cst) == 0) {
        sched.source->Break();
      } else {
        AskForThread();
      }
    }
    return;
  }
  m->spinning = spinning;
  m->next_p = p;
  // release: pairs with the acquire in StopM
  m->park_word.store(1, std::memory_order_release);
  base::FutexWake(m->park_word, 1);
}

void HandOffP(P* p) {
  const bool work = !p->queue.Empty() || sched.global_size.load(std::memory_order_seq_cst) > 0;
  if (work) {
    StartM(p, /*spinning=*/false);
    return;
  }
  {
    base::SpinLockHolder hold(sched.mu);
    p->status.store(PStatus::kIdle, std::memory_order_relaxed);
    p->idle_link = sched.idle_ps;
    sched.idle_ps = p;
    sched.idle_p_count.fetch_add(1, std::memory_order_seq_cst);
  }
  // Work that came between the look and the idle list found no idle P.
  if (!p->queue.Empty() || sched.global_size.load(std::memory_order_seq_cst) > 0) WakeIfIdle();
  // Its timers need somebody who waits for them.
  const int64_t when = p->next_when.load(std::memory_order_seq_cst);
  if (when != kNever) TimerMovedForward(when);
}

void ScheduleLoop(M* m) {
  SanitizerThreadStart(&m->g0);
  for (;;) {
    FinishSwitch(m);
    G* g = FindRunnable(m);
    if (m->spinning) FoundWhileSpinning(m);
    SwitchTo(m, &m->g0, g);
  }
}

void BecomeM(M* m, pthread_t thread) {
  m->id = sched.m_count.fetch_add(1, std::memory_order_relaxed);
  m->thread = thread;
  m->no_preempt = 1;  // g0 is never preempted
  m->g0.is_system_stack = true;
  m->g = &m->g0;
  m->eh = reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
  m->errno_address = &errno;
  if (sched.on_thread_start != nullptr) sched.on_thread_start(m->id);
  plimsoll_tls_m = m;
}

void Run(const RunOptions& options, const internal::EntryOps& entry, void* closure,
         const int* exit_code) {
  PLIMSOLL_CHECK(!sched.started.load(std::memory_order_relaxed),
                 "plimsoll::Main was called twice: there is one runtime a process");
  PLIMSOLL_CHECK(options.procs >= 1 && options.procs <= kMaxProcs, "procs is ", options.procs);
  if (sched.source == nullptr) sched.source = &DefaultSource();
  sched.may_spin = options.may_spin;
  sched.on_thread_start = options.on_thread_start;
  sched.coarse_now_ns.store(NowNanos(), std::memory_order_relaxed);
  sched.last_poll_ns.store(NowNanos(), std::memory_order_relaxed);

  const size_t bytes = sizeof(P) * static_cast<size_t>(options.procs);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  PLIMSOLL_CHECK(memory != MAP_FAILED, "no memory for ", options.procs,
                 " Ps: ", base::ErrnoName(errno));
  for (int i = 0; i < options.procs; ++i) {
    P* p = ::new (static_cast<char*>(memory) + sizeof(P) * static_cast<size_t>(i)) P;
    p->id = i;
    p->random =
        0x9e3779b97f4a7c15u * static_cast<uint64_t>(i + 1) ^ static_cast<uint64_t>(NowNanos());
    p->random |= 1;  // xorshift never leaves zero
    sched.all_ps[i] = p;
  }
  sched.procs.store(options.procs, std::memory_order_release);
  {
    base::SpinLockHolder hold(sched.mu);
    for (int i = options.procs - 1; i >= 1; --i) {
      P* p = sched.all_ps[i];
      p->status.store(PStatus::kIdle, std::memory_order_relaxed);
      p->idle_link = sched.idle_ps;
      sched.idle_ps = p;
      sched.idle_p_count.fetch_add(1, std::memory_order_relaxed);
    }
  }

  static constinit M main_m;
  BecomeM(&main_m, pthread_self());
  sched.own_threads.fetch_add(1, std::memory_order_relaxed);
  AcquireP(&main_m, sched.all_ps[0]);
  sched.started.store(true, std::memory_order_release);
  // One M more than Ps where there are several: the one that waits in the idle source is then not
  // the one that is woken for every goroutine.
  StartThreads(options.procs > 1 ? options.procs : 0);

  struct MainClosure {
    const internal::EntryOps* entry;
    void* closure;
    const int* exit_code;
    void (*before)();
    void operator()() {
      CurrentG()->is_main = true;
      if (before != nullptr) before();
      entry->run(closure);
      ExitProcess(*exit_code);
    }
  };
  MainClosure main_closure{&entry, closure, exit_code, options.before_main};
  PLIMSOLL_CHECK(internal::Spawn(internal::kEntryOps<MainClosure>, &main_closure,
                                 {.stack = options.main_stack}),
                 "no memory for the main goroutine's stack");
  ScheduleLoop(&main_m);
}

Stats GetStats() {
  Stats s;
  s.procs = sched.procs.load(std::memory_order_acquire);
  s.idle_procs = sched.idle_p_count.load(std::memory_order_relaxed);
  s.threads = static_cast<int>(sched.m_count.load(std::memory_order_relaxed));
  s.idle_threads = sched.idle_m_count.load(std::memory_order_relaxed);
  s.spinning = sched.spinning.load(std::memory_order_relaxed);
  s.goroutines = sched.goroutines.load(std::memory_order_relaxed);
  s.thread_failures = sched.thread_failures.load(std::memory_order_relaxed);
  for (int i = 0; i < s.procs; ++i) {
    const P* p = sched.all_ps[i];
    s.switches += p->stat_switches.load(std::memory_order_relaxed);
    s.steals += p->stat_steals.load(std::memory_order_relaxed);
    s.stolen += p->stat_stolen.load(std::memory_order_relaxed);
    s.spawns += p->stat_spawns.load(std::memory_order_relaxed);
  }
  return s;
}

int CurrentProc() {
  NoPreempt guard;
  const M* m = CurrentM();
  return m != nullptr && m->p != nullptr ? m->p->id : -1;
}

int CurrentThread() {
  const M* m = CurrentM();
  return m != nullptr ? static_cast<int>(m->id) : -1;
}

}  // namespace plimsoll::sched
