// Channels and Select: runtime/chan/channel_core.cc and select_core.cc themselves.

#include <array>
#include <cstdint>
#include <source_location>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel_core.h"
#include "plimsoll/runtime/chan/select_core.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"
#include "plimsoll/tests/model/goroutine.h"

namespace plimsoll::internal {

// The friend that channel_core.h names.
class ChannelPeek {
 public:
  static size_t Waiters(ChannelCore* c) { return c->recvq_.Count() + c->sendq_.Count(); }
  static size_t Buffered(ChannelCore* c) { return c->count(); }
};

}  // namespace plimsoll::internal

namespace plimsoll::model {
namespace {

using ::plimsoll::internal::ChannelCore;
using ::plimsoll::internal::ChannelPeek;
using ::plimsoll::internal::Outcome;
using ::plimsoll::internal::Selected;
using ::plimsoll::internal::SelectOp;
using ::plimsoll::internal::SelectRun;

ChannelCore* MakeChannel(size_t capacity) {
  return ChannelCore::Make({.size = 8, .align = 8, .destroy = nullptr, .collected = false},
                           capacity, std::source_location::current());
}

// What came of the values of one execution. Written by the goroutine they belong to, read at the
// end.
struct Ledger {
  ChannelCore* a;
  ChannelCore* b;
  std::array<int, 8> sent{};      // by value: how often its send was done
  std::array<int, 8> received{};  // by value
  int closed_receives = 0;
  int closed_sends = 0;

  void Send(ChannelCore* c, uint64_t value, int64_t deadline = ChannelCore::kNever) {
    const Outcome o = c->Send<8>(&value, deadline);
    if (o == Outcome::kDone) ++sent[value];
    if (o == Outcome::kClosed) ++closed_sends;
  }
  void Recv(ChannelCore* c, int64_t deadline = ChannelCore::kNever) {
    uint64_t value = 0;
    const Outcome o = c->Recv<8>(&value, deadline);
    if (o == Outcome::kDone) Got(value);
    if (o == Outcome::kClosed) ++closed_receives;
  }
  void Got(uint64_t value) {
    Check(value >= 1 && value < received.size(), "a value that was sent");
    ++received[value];
  }
  // Selects one of: a value from `from`, the value `value` to `to`. Null: no such case.
  int Select(ChannelCore* from, ChannelCore* to, uint64_t value,
             int64_t deadline = ChannelCore::kNever, bool send_first = false) {
    uint64_t got = 0;
    std::array<SelectOp, 2> ops;
    SelectOp& recv = ops[send_first ? 1 : 0];
    SelectOp& send = ops[send_first ? 0 : 1];
    recv.core = from;
    recv.slot = &got;
    send.core = to;
    send.slot = &value;
    send.sending = true;
    const Selected s = SelectRun::Run(ops, deadline);
    if (s.index < 0) return -1;
    const bool received_one = (s.index == 0) != send_first;
    if (s.outcome == Outcome::kClosed) {
      ++(received_one ? closed_receives : closed_sends);
    } else if (received_one) {
      Got(got);
    } else {
      ++sent[value];
    }
    return received_one ? 0 : 1;
  }
  // Selects from two channels.
  void SelectTwo(ChannelCore* x, ChannelCore* y) {
    uint64_t gx = 0, gy = 0;
    std::array<SelectOp, 2> ops;
    ops[0].core = x;
    ops[0].slot = &gx;
    ops[1].core = y;
    ops[1].slot = &gy;
    const Selected s = SelectRun::Run(ops, ChannelCore::kNever);
    Check(s.index >= 0, "a select without a deadline selects");
    if (s.outcome == Outcome::kClosed) {
      ++closed_receives;
    } else {
      Got(s.index == 0 ? gx : gy);
    }
  }
  // What was sent was received, or is buffered; nothing twice; nobody is queued any more.
  void Balance() {
    size_t in_flight = 0;
    for (size_t v = 1; v < sent.size(); ++v) {
      Check(sent[v] <= 1 && received[v] <= sent[v], "a value crosses once");
      in_flight += static_cast<size_t>(sent[v] - received[v]);
    }
    size_t buffered = 0;
    for (ChannelCore* c : {a, b}) {
      if (c == nullptr) continue;
      buffered += ChannelPeek::Buffered(c);
      Check(ChannelPeek::Waiters(c) == 0, "no waiter is left in a queue");
    }
    Check(in_flight == buffered, "a value whose send was done is received or buffered");
  }
};

Ledger* Begin(int capacity_a, int capacity_b) {
  auto* l = New<Ledger>("ledger");
  l->a = MakeChannel(static_cast<size_t>(capacity_a));
  l->b = capacity_b < 0 ? nullptr : MakeChannel(static_cast<size_t>(capacity_b));
  AtEnd([l] { l->Balance(); });
  return l;
}

Program SendAndReceive(int capacity, int senders, int receivers) {
  return [=] {
    Ledger* l = Begin(capacity, -1);
    for (int i = 0; i < senders; ++i) {
      Goroutine("sender", [=] { l->Send(l->a, static_cast<uint64_t>(i + 1)); });
    }
    for (int i = 0; i < receivers; ++i) Goroutine("receiver", [=] { l->Recv(l->a); });
  };
}

Program CloseAgainst(int capacity, int senders, int receivers) {
  return [=] {
    Ledger* l = Begin(capacity, -1);
    for (int i = 0; i < senders; ++i) {
      Goroutine("sender", [=] { l->Send(l->a, static_cast<uint64_t>(i + 1)); });
    }
    for (int i = 0; i < receivers; ++i) Goroutine("receiver", [=] { l->Recv(l->a); });
    Goroutine("closer", [=] { Check(l->a->Close() == Outcome::kDone); });
  };
}

// A select in enqueue, against a close of one of its channels.
Program CloseAgainstSelect(bool sending) {
  return [=] {
    Ledger* l = Begin(0, 0);
    Goroutine("select", [=] {
      if (sending) {
        l->Select(l->a, l->b, 1);
      } else {
        l->SelectTwo(l->a, l->b);
      }
    });
    Goroutine("closer", [=] { (sending ? l->b : l->a)->Close(); });
  };
}

// A select that one of two sends wins; the other sender finds another receiver.
Program SelectWithALoser() {
  return [] {
    Ledger* l = Begin(0, 0);
    Goroutine("select", [=] {
      l->SelectTwo(l->a, l->b);
      l->SelectTwo(l->a, l->b);
    });
    Goroutine("send a", [=] { l->Send(l->a, 1); });
    Goroutine("send b", [=] { l->Send(l->b, 2); });
  };
}

// Two selects that can only serve each other: one sends to a or receives from b, the other
// receives from a or sends to b.
Program SelectAgainstSelect() {
  return [] {
    Ledger* l = Begin(0, 0);
    Goroutine("first", [=] { l->Select(l->b, l->a, 1); });
    Goroutine("second", [=] { l->Select(l->a, l->b, 2, ChannelCore::kNever, true); });
  };
}

// A deadline against a send.
Program TimedReceive() {
  return [] {
    Ledger* l = Begin(0, -1);
    Goroutine("receiver", [=] { l->Recv(l->a, /*deadline=*/1); }, /*timed=*/true);
    Goroutine("sender", [=] { l->Send(l->a, 1, ChannelCore::kAtOnce); });
  };
}

Program TimedSelect() {
  return [] {
    Ledger* l = Begin(0, 0);
    Goroutine("select", [=] { l->Select(l->a, l->b, 2, /*deadline=*/1); }, /*timed=*/true);
    Goroutine("sender", [=] { l->Send(l->a, 1, ChannelCore::kAtOnce); });
  };
}

// Select with Default never blocks and never lies: with a token in one of two channels all the
// time, it finds it. The token moves from b to a beside it.
Program DefaultSeesAToken() {
  return [] {
    Ledger* l = Begin(1, 1);
    uint64_t token = 1;
    l->b->Send<8>(&token);
    ++l->sent[1];
    Goroutine("mover", [=] {
      // Into a first, and out of b after: there is a token at every moment.
      l->Send(l->a, 2);
      l->Recv(l->b, ChannelCore::kAtOnce);
    });
    Goroutine("select", [=] {
      uint64_t gx = 0, gy = 0;
      std::array<SelectOp, 2> ops;
      ops[0].core = l->a;
      ops[0].slot = &gx;
      ops[1].core = l->b;
      ops[1].slot = &gy;
      const Selected s = SelectRun::Run(ops, ChannelCore::kAtOnce);
      Check(s.index >= 0, "default only when no case was ready at one moment");
      l->Got(s.index == 0 ? gx : gy);
    });
  };
}

TEST(ChanModel, ValuesCrossOnce) {
  ExpectHolds("unbuffered: send / recv", {}, SendAndReceive(0, 1, 1));
  ExpectHolds("buffer of 1: send / recv", {}, SendAndReceive(1, 1, 1));
  ExpectHolds("unbuffered: send / send / recv / recv", {}, SendAndReceive(0, 2, 2));
  ExpectHolds("buffer of 1: send / send / recv / recv", {}, SendAndReceive(1, 2, 2));
}

TEST(ChanModel, CloseAgainstSendAndReceive) {
  ExpectHolds("close / recv", {}, CloseAgainst(0, 0, 1));
  ExpectHolds("close / send", {}, CloseAgainst(0, 1, 0));
  ExpectHolds("close / recv / recv", {}, CloseAgainst(0, 0, 2));
  ExpectHolds("close / send / recv", {}, CloseAgainst(0, 1, 1));
  ExpectHolds("close / send / recv, buffer of 1", {}, CloseAgainst(1, 1, 1));
}

TEST(ChanModel, SelectTakesEffectOnce) {
  ExpectHolds("close / select receiving", {}, CloseAgainstSelect(false));
  ExpectHolds("close / select sending", {}, CloseAgainstSelect(true));
  ExpectHolds("select / select", {}, SelectAgainstSelect());
  ExpectHolds("select twice / send a / send b", {}, SelectWithALoser());
  ExpectHolds("select with default / the token moves", {}, DefaultSeesAToken());
}

TEST(ChanModel, DeadlinesAgainstWakers) {
  ExpectHolds("recv with deadline / send at once", {}, TimedReceive());
  ExpectHolds("select with deadline / send at once", {}, TimedSelect());
}

TEST(ChanModel, FindsEachPlantedFault) {
  ExpectFinds("close / select receiving", "close against a select in enqueue", {},
              CloseAgainstSelect(false));
  ExpectFinds("close / select sending", "close against a select in enqueue", {},
              CloseAgainstSelect(true));
  ExpectFinds("select twice / send a / send b", "a loser left queued", {}, SelectWithALoser());
  ExpectFinds("close / recv / recv", "close wakes the first only", {}, CloseAgainst(0, 0, 2));
  ExpectFinds("select with default / the token moves", "default after one walk", {},
              DefaultSeesAToken());
  // What the model found in the product, planted again.
  ExpectFinds("select with default / the token moves", "the version before the state", {},
              DefaultSeesAToken());
  ExpectFinds("select with default / the token moves", "the version before the state",
              {.memory = Memory::kSequential}, DefaultSeesAToken());
  ExpectFinds("recv with deadline / send at once", "ParkUntil does not wait for the commit", {},
              TimedReceive());
}

}  // namespace
}  // namespace plimsoll::model
