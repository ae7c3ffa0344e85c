// A rate limiter: a bucket of three tokens, filled by a ticker. A burst of three passes at once,
// and what follows goes at the ticker's pace.
#include <cstdio>
#include <variant>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/time/ticker.h"

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    constexpr absl::Duration kPeriod = absl::Milliseconds(5);
    plimsoll::Channel<std::monostate> bucket(3);
    for (int i = 0; i < 3; ++i) bucket.Send({});
    int request = 0;
    while (bucket.TryRecv().status == plimsoll::RecvStatus::kValue) {
      std::printf("request %d\n", ++request);
    }

    const absl::Time start = absl::Now();
    plimsoll::Go([bucket, ticker = plimsoll::Ticker(kPeriod)] {
      for (auto tick : ticker.C()) {
        (void)tick;
        // A full bucket spills: the token is not kept for later.
        plimsoll::Select(plimsoll::OnSend(bucket, {}), plimsoll::Default());
      }
    });
    while (request < 6) {
      bucket.Recv();
      std::printf("request %d\n", ++request);
    }
    std::printf("three were made to wait: %s\n", absl::Now() - start >= 2 * kPeriod ? "yes" : "no");
    return 0;
  });
}
