// The prime sieve: a chain of goroutines, each of which keeps back the multiples of one prime.
// After Hoare's CSP and Rob Pike's version of it.
#include <cstdio>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/runtime.h"

using plimsoll::Channel;

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    Channel<int> numbers;
    plimsoll::Go([numbers] {
      for (int i = 2;; ++i) numbers.Send(i);
    });
    for (int i = 0; i < 10; ++i) {
      const int prime = *numbers.Recv();
      std::printf("%d\n", prime);
      Channel<int> kept;
      plimsoll::Go([in = numbers, out = kept, prime] {
        for (int n : in) {
          if (n % prime != 0) out.Send(n);
        }
      });
      numbers = kept;
    }
    return 0;  // the chain ends with the process
  });
}
