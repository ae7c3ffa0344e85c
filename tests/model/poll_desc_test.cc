// The poller's semaphores and deadlines: runtime/netpoll/poll_desc.cc itself.

#include "plimsoll/runtime/netpoll/poll_desc.h"

#include <cstdint>

#include "gtest/gtest.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/timers.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"
#include "plimsoll/tests/model/goroutine.h"

namespace plimsoll::netpoll {

// The pool's part, of desc_pool.cc: the last that lets go of a descriptor hands it on.
class DescPool {
 public:
  static void HandOn(PollDesc& desc) {
    if (!model::Planted("handed on with a timer armed")) desc.DisarmTimers();
    desc.Reset();
  }
};

}  // namespace plimsoll::netpoll

namespace plimsoll::model {
namespace {

using netpoll::Mode;
using netpoll::PollDesc;
using netpoll::WaitResult;

constexpr int64_t kSoon = 1;  // the clock stands at 0

struct Socket {
  PollDesc desc;
  // What has arrived, as the kernel has it: under the socket's lock. Each edge comes after its
  // bytes. (An edge that finds the word ready already does not write it; so it is the system call,
  // and not the word, that shows its bytes to who takes the ready word.)
  Lock socket;
  int arrived = 0;
  int taken = 0;
  int results[3] = {};  // by WaitResult

  void Edge() {
    socket.lock();
    ++arrived;
    socket.unlock();
    if (sched::G* g = desc.OnEdge(Mode::kRead)) sched::Ready(g);
  }
  // As Conn::Read: tries, waits for an edge, tries again; until it has a byte, or an end.
  void Read() {
    for (;;) {
      socket.lock();
      const int now = arrived;
      socket.unlock();
      if (now > taken) {
        ++taken;
        ++results[static_cast<int>(WaitResult::kReady)];
        return;
      }
      const WaitResult r = desc.Wait(Mode::kRead);
      if (r != WaitResult::kReady) {
        ++results[static_cast<int>(r)];
        return;
      }
    }
  }
};

Socket* Begin(bool timers) {
  sched::SchedTimer::ResetTimers();
  TimePasses(false);
  auto* s = New<Socket>("socket");
  if (timers) Daemon("timer", [] { sched::SchedTimer::RunTimer(0); });
  return s;
}

Program EdgeAgainstWait(int edges) {
  return [=] {
    Socket* s = Begin(false);
    Goroutine("reader", [=] {
      for (int i = 0; i < edges; ++i) s->Read();
    });
    Thread("poller", [=] {
      for (int i = 0; i < edges; ++i) s->Edge();
    });
    AtEnd([=] { Check(s->results[0] == edges, "every byte was read"); });
  };
}

Program TwoPollers() {
  return [] {
    Socket* s = Begin(false);
    Goroutine("reader", [=] {
      s->Read();
      s->Read();
    });
    Thread("poller", [=] { s->Edge(); });
    Thread("poller2", [=] { s->Edge(); });
  };
}

Program EvictAgainstWait(bool edge) {
  return [=] {
    Socket* s = Begin(false);
    Goroutine("reader", [=] { s->Read(); });
    if (edge) Thread("poller", [=] { s->Edge(); });
    Goroutine("closer", [=] { s->desc.Evict(); });
    AtEnd([=] {
      Check(s->desc.Check(Mode::kRead) == WaitResult::kClosed);
      if (!edge) Check(s->results[static_cast<int>(WaitResult::kClosed)] == 1, "it was told");
    });
  };
}

Program DeadlineAgainstWait(bool edge) {
  return [=] {
    Socket* s = Begin(true);
    Goroutine("reader", [=] {
      s->desc.SetDeadline(Mode::kRead, kSoon);
      s->Read();
    });
    if (edge) Thread("poller", [=] { s->Edge(); });
  };
}

// Another goroutine sets a deadline that has passed, and takes it back.
Program DeadlineThatHasPassed(bool put_off) {
  return [=] {
    Socket* s = Begin(false);
    Goroutine("reader", [=] { s->Read(); });
    Goroutine("other", [=] {
      s->desc.SetDeadline(Mode::kRead, 0);
      if (put_off) {
        s->desc.SetDeadline(Mode::kRead, netpoll::kNoDeadline);
        s->Edge();  // else nobody need ever wake the reader again
      }
    });
    AtEnd([=] {
      if (!put_off) {
        Check(s->results[static_cast<int>(WaitResult::kTimedOut)] == 1, "it timed out");
      }
    });
  };
}

Program EvictAgainstDeadline() {
  return [] {
    Socket* s = Begin(true);
    Goroutine("reader", [=] {
      s->desc.SetDeadline(Mode::kRead, kSoon);
      s->Read();
    });
    Goroutine("closer", [=] { s->desc.Evict(); });
  };
}

// Close and a SetDeadline that is under way: who is the last to hold the descriptor hands it on,
// and then nothing of its life may fire. `put_off`: the timer that was armed first finds the
// deadline moved, and arms itself again.
Program EvictAgainstSetDeadline(bool put_off) {
  return [=] {
    Socket* s = Begin(true);
    auto* users = New<atomic<uint32_t>>("users", 2u);
    auto let_go = [=] {
      if (users->fetch_sub(1, std::memory_order_acq_rel) != 1) return;
      netpoll::DescPool::HandOn(s->desc);
      Check(!sched::SchedTimer::AnyArmed(), "a timer of the life before is armed");
    };
    Goroutine("user", [=] {
      s->desc.SetDeadline(Mode::kRead, kSoon);
      if (put_off) s->desc.SetDeadline(Mode::kRead, kSoon + 1);
      let_go();
    });
    Goroutine("closer", [=] {
      s->desc.Evict();
      let_go();
    });
  };
}

TEST(PollDescModel, NoEdgeIsLost) {
  ExpectHolds("edge / wait", {}, EdgeAgainstWait(1));
  ExpectHolds("2 edges / 2 reads", {}, EdgeAgainstWait(2));
  ExpectHolds("edge / edge / 2 reads", {}, TwoPollers());
}

TEST(PollDescModel, CloseAndDeadlinesWakeTheWaiter) {
  ExpectHolds("evict / wait", {}, EvictAgainstWait(false));
  ExpectHolds("evict / edge / wait", {}, EvictAgainstWait(true));
  ExpectHolds("timer / wait", {}, DeadlineAgainstWait(false));
  ExpectHolds("timer / edge / wait", {}, DeadlineAgainstWait(true));
  ExpectHolds("deadline that has passed / wait", {}, DeadlineThatHasPassed(false));
  ExpectHolds("deadline that has passed, put off / wait", {}, DeadlineThatHasPassed(true));
  ExpectHolds("evict / timer / wait", {}, EvictAgainstDeadline());
}

TEST(PollDescModel, NoTimerOutlivesItsDescriptor) {
  ExpectHolds("evict / set deadline", {}, EvictAgainstSetDeadline(false));
  ExpectHolds("evict / set deadline, put off", {}, EvictAgainstSetDeadline(true));
}

TEST(PollDescModel, FindsEachPlantedFault) {
  ExpectFinds("edge / wait", "rg/wg: the edge stores, does not CAS", {}, EdgeAgainstWait(1));
  ExpectFinds("edge / wait", "rg/wg: the waiter stores kWait, does not CAS", {},
              EdgeAgainstWait(1));
  ExpectFinds("edge / wait", "rg/wg: the commit stores the G, does not CAS", {},
              EdgeAgainstWait(1));
  ExpectFinds("evict / wait", "no second look before the park", {}, EvictAgainstWait(false));
  ExpectFinds("evict / wait", "closing: not in the total order", {}, EvictAgainstWait(false));
  ExpectFinds("evict / wait", "evict: looks first, marks second", {}, EvictAgainstWait(false));
  ExpectFinds("evict / set deadline", "handed on with a timer armed", {},
              EvictAgainstSetDeadline(false));
  ExpectFinds("evict / set deadline, put off", "disarm: no second look after a run", {},
              EvictAgainstSetDeadline(true));
}

}  // namespace
}  // namespace plimsoll::model
