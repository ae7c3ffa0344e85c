// Values through channels.

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/tools/bench/bench.h"

namespace plimsoll::bench {
namespace {

// How long does a value take to another goroutine and back, over two unbuffered channels?
void PingPong(const Args& args) {
  Stopwatch watch;
  Channel<int64_t> there, back;
  Go([there, back] {
    while (std::optional<int64_t> v = there.Recv()) back.Send(*v);
  });
  for (int64_t i = 0; i < args.n; ++i) {
    there.Send(i);
    (void)back.Recv();
  }
  there.Close();
  Report(args, args.n, watch.Seconds());
}

// What does a value through a channel cost with so many senders and receivers?
void Stream(const Args& args, int senders, int receivers, size_t capacity) {
  Stopwatch watch;
  Channel<int64_t> channel(static_cast<int64_t>(capacity));
  WaitGroup sending, receiving;
  for (int s = 0; s < senders; ++s) {
    sending.Add(1);
    Go([&, channel] {
      for (int64_t i = 0; i < args.n / senders; ++i) channel.Send(i);
      sending.Done();
    });
  }
  for (int r = 0; r < receivers; ++r) {
    receiving.Add(1);
    Go([&, channel] {
      while (channel.Recv().has_value()) {
      }
      receiving.Done();
    });
  }
  sending.Wait();
  channel.Close();
  receiving.Wait();
  Report(args, args.n, watch.Seconds());
}

constexpr Bench kBenches[] = {
    {"pingpong", "N values there and back over two unbuffered channels", PingPong},
    {"chan_unbuf", "N values from one goroutine to another, unbuffered",
     [](const Args& a) { Stream(a, 1, 1, 0); }},
    {"chan_buf", "N values from one goroutine to another, 128 buffered",
     [](const Args& a) { Stream(a, 1, 1, 128); }},
    {"mpmc", "N values from 8 goroutines to 8, 128 buffered",
     [](const Args& a) { Stream(a, 8, 8, 128); }},
};

}  // namespace

std::span<const Bench> ChanBenches() { return kBenches; }

}  // namespace plimsoll::bench
