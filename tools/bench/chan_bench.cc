// Values through channels, and Select over several.

#include <array>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
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

// K unbuffered channels, each with a goroutine that does nothing but send to it.
template <size_t K>
std::array<Channel<int64_t>, K> Sources() {
  std::array<Channel<int64_t>, K> sources;
  for (Channel<int64_t>& channel : sources) {
    Go([channel] {
      for (;;) channel.Send(1);
    });
  }
  return sources;
}

// What does a receive cost that takes whichever of K senders comes? The senders are left behind, as
// in the peers' programs: the process ends under them.
void Select2(const Args& args) {
  Stopwatch watch;
  const auto c = Sources<2>();
  for (int64_t i = 0; i < args.n; ++i) Select(OnRecv(c[0]), OnRecv(c[1]));
  Report(args, args.n, watch.Seconds());
}

void Select8(const Args& args) {
  Stopwatch watch;
  const auto c = Sources<8>();
  for (int64_t i = 0; i < args.n; ++i) {
    Select(OnRecv(c[0]), OnRecv(c[1]), OnRecv(c[2]), OnRecv(c[3]), OnRecv(c[4]), OnRecv(c[5]),
           OnRecv(c[6]), OnRecv(c[7]));
  }
  Report(args, args.n, watch.Seconds());
}

// What does it cost to find that neither of two channels has anything?
void SelectDefault(const Args& args) {
  Stopwatch watch;
  const Channel<int64_t> c, d;
  int64_t none = 0;
  for (int64_t i = 0; i < args.n; ++i) {
    Select(OnRecv(c), OnRecv(d), Default([&] { ++none; }));
  }
  Report(args, none, watch.Seconds());
}

// What does a prime cost in a chain of goroutines, each of which sieves for those before it?
void Sieve(const Args& args) {
  Stopwatch watch;
  Channel<int64_t> ch;
  const Channel<char> stop;
  Go([ch, stop] {
    for (int64_t i = 2;; ++i) {
      if (Select(OnSend(ch, i), OnRecv(stop)) == 1) return;
    }
  });
  for (int64_t i = 0; i < args.n; ++i) {
    const int64_t prime = *ch.Recv();
    const Channel<int64_t> out;
    Go([in = ch, out, prime] {
      for (;;) {
        const int64_t number = *in.Recv();
        if (number % prime != 0) out.Send(number);
      }
    });
    ch = out;
  }
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
    {"select2", "N receives from whichever of 2 senders comes", Select2},
    {"select8", "N receives from whichever of 8 senders comes", Select8},
    {"select_default", "N looks at 2 channels on which nothing comes", SelectDefault},
    {"sieve", "the first N primes by a chain of goroutines", Sieve},
};

}  // namespace

std::span<const Bench> ChanBenches() { return kBenches; }

}  // namespace plimsoll::bench
