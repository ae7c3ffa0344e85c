// Two ways to count together. A mutex guards the number where it lies; a channel brings what is to
// be added to the one goroutine that owns it. Use a mutex for state, a channel for handing over.
#include <cstdio>
#include <mutex>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace {

constexpr int kGoroutines = 10;
constexpr int kEach = 1000;

int CountWithMutex() {
  plimsoll::Mutex mu;
  plimsoll::WaitGroup wg;
  int count = 0;
  for (int g = 0; g < kGoroutines; ++g) {
    wg.Go([&] {
      for (int i = 0; i < kEach; ++i) {
        std::lock_guard hold(mu);
        ++count;
      }
    });
  }
  wg.Wait();
  return count;
}

int CountWithChannel() {
  plimsoll::Channel<int> add;
  plimsoll::WaitGroup wg;
  plimsoll::WaitGroup owner;
  int count = 0;
  owner.Go([&] {
    for (int n : add) count += n;
  });
  for (int g = 0; g < kGoroutines; ++g) {
    wg.Go([add] {
      for (int i = 0; i < kEach; ++i) add.Send(1);
    });
  }
  wg.Wait();
  add.Close();
  owner.Wait();
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    std::printf("mutex:   %d\n", CountWithMutex());
    std::printf("channel: %d\n", CountWithChannel());
    return 0;
  });
}
