// The smallest program: Main starts the runtime, Go starts a goroutine, and a channel brings back
// what it made.
#include <cstdio>
#include <string>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/runtime.h"

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    plimsoll::Channel<std::string> greeting;
    plimsoll::Go([greeting] { greeting.Send("hello from a goroutine"); });
    std::puts(greeting.Recv()->c_str());
    return 0;  // the process's exit status; goroutines that still run end with it
  });
}
