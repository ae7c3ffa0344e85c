// A context carries "stop" down a tree of work: cancelling a request ends what was started for it,
// and nothing else. Its values say for whom the work is done.
#include <cstdio>
#include <string>

#include "absl/time/time.h"
#include "plimsoll/runtime/context/context.h"
#include "plimsoll/runtime/context/context_ops.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace {

constexpr plimsoll::ContextKey<std::string> kUser("user");

void Work(const plimsoll::Context& ctx) {
  const absl::Status ended = plimsoll::Sleep(ctx, absl::Hours(1));
  std::printf("%s: %s\n", ctx.Value(kUser)->c_str(), std::string(ended.message()).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    plimsoll::WaitGroup alice_works;
    plimsoll::WaitGroup bob_works;
    auto [server, shut_down] = plimsoll::WithCancel(plimsoll::Background());
    auto alice = plimsoll::WithCancel(plimsoll::WithValue(server, kUser, "alice"));
    auto bob =
        plimsoll::WithTimeout(plimsoll::WithValue(server, kUser, "bob"), absl::Milliseconds(20));
    alice_works.Go([ctx = alice.ctx] { Work(ctx); });
    bob_works.Go([ctx = bob.ctx] { Work(ctx); });

    alice.cancel();
    alice_works.Wait();
    std::printf("the server: %s\n", server.Err().ok() ? "goes on" : "was cancelled");
    bob_works.Wait();
    shut_down();
    std::printf("the server: %s\n", std::string(server.Err().message()).c_str());
    return 0;
  });
}
