// A program of another workspace: it includes Plimsoll by the paths that everyone writes.
#include <cstdio>
#include <string>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/runtime.h"

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    plimsoll::Channel<std::string> greeting;
    plimsoll::Go([greeting] { greeting.Send("hello from another workspace"); });
    std::puts(greeting.Recv()->c_str());
    return 0;
  });
}
