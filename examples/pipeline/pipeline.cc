// A pipeline: each stage receives, works, sends on, and closes what it sends to. When the reader
// has had enough it cancels; every stage heeds the context and ends, so none is left behind.
#include <cstdio>
#include <optional>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/context/context.h"
#include "plimsoll/runtime/context/context_ops.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

using plimsoll::Channel;
using plimsoll::Context;
using plimsoll::RecvChannel;

namespace {

RecvChannel<int> Numbers(plimsoll::WaitGroup& stages, const Context& ctx) {
  Channel<int> out;
  stages.Go([=] {
    for (int i = 1; plimsoll::Send(ctx, out, i).ok(); ++i) {
    }
    out.Close();
  });
  return out;
}

RecvChannel<int> Squares(plimsoll::WaitGroup& stages, const Context& ctx,
                         const RecvChannel<int>& in) {
  Channel<int> out;
  stages.Go([=] {
    for (int i : in) {
      if (!plimsoll::Send(ctx, out, i * i).ok()) break;
    }
    out.Close();
  });
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    plimsoll::WaitGroup stages;
    auto [ctx, cancel] = plimsoll::WithCancel(plimsoll::Background());
    for (int square : Squares(stages, ctx, Numbers(stages, ctx))) {
      std::printf("%d\n", square);
      if (square >= 25) break;
    }
    cancel();
    stages.Wait();
    std::puts("all stages have ended");
    return 0;
  });
}
