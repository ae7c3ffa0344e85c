// Two goroutines and an unbuffered channel: each Send waits for its Recv, so the two take turns.
// The end of the stream is Close: the loop over the channel ends, and nobody needs a flag.
#include <cstdio>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

using plimsoll::Channel;

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    constexpr int kRallies = 3;
    Channel<int> to_pong;
    Channel<int> to_ping;
    plimsoll::WaitGroup players;

    players.Go([=] {
      for (int rally = 1; rally <= kRallies; ++rally) {
        std::printf("ping %d\n", rally);
        to_pong.Send(rally);
        to_ping.Recv();
      }
      to_pong.Close();
    });
    players.Go([=] {
      for (int rally : to_pong) {
        std::printf("      pong %d\n", rally);
        to_ping.Send(rally);
      }
      std::puts("game over");
    });

    players.Wait();
    return 0;
  });
}
