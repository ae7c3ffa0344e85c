// Fan-out: ask several servers at once, go on with the first answers that suffice, and let go of
// the rest. A context says "enough"; what it closes ends the reads that still wait.
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/context/context.h"
#include "plimsoll/runtime/net/address.h"
#include "plimsoll/runtime/net/conn.h"
#include "plimsoll/runtime/net/listener.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

using plimsoll::Channel;
using plimsoll::Context;
namespace net = plimsoll::net;

namespace {

constexpr int kServers = 5;
constexpr int kEnough = 3;

// Reads to the end of the stream.
absl::StatusOr<std::string> ReadAll(const net::Conn& conn) {
  std::string all;
  std::array<char, 64> buffer;
  while (true) {
    const absl::StatusOr<size_t> n = conn.Read(buffer);
    if (!n.ok()) return n.status();
    if (*n == 0) return all;
    all.append(buffer.data(), *n);
  }
}

// Serves one client. Those with an even number answer; the others are ill, and only wait until the
// client goes away.
void ServeOne(const net::Listener& listener, int number) {
  const absl::StatusOr<net::Conn> conn = listener.Accept();
  if (!conn.ok()) return;
  if (number % 2 == 0) {
    conn->Write("42").IgnoreError();
  } else {
    ReadAll(*conn).IgnoreError();
  }
}

absl::StatusOr<std::string> Ask(const Context& ctx, const net::Address& server) {
  const absl::StatusOr<net::Conn> conn = net::Dial(server);
  if (!conn.ok()) return conn.status();
  const plimsoll::StopFunc stop =
      plimsoll::AfterFunc(ctx, [conn = *conn] { conn.Close().IgnoreError(); });
  absl::StatusOr<std::string> answer = ReadAll(*conn);
  stop();
  return answer;
}

struct Answer {
  int server;
  absl::StatusOr<std::string> text;
};

}  // namespace

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    std::vector<net::Listener> listeners;
    plimsoll::WaitGroup servers;
    for (int s = 0; s < kServers; ++s) {
      // Port 0: the kernel chooses one that is free.
      absl::StatusOr<net::Listener> listener = net::Listen(*net::Address::Parse("127.0.0.1:0"));
      if (!listener.ok()) {
        std::fprintf(stderr, "fan_out: %s\n", listener.status().ToString().c_str());
        return 1;
      }
      listeners.push_back(*listener);
      servers.Go([listener = *listener, s] { ServeOne(listener, s); });
    }

    auto [ctx, cancel] = plimsoll::WithCancel(plimsoll::Background());
    Channel<Answer> answers(kServers);  // room for all: who answers late need not wait for a reader
    for (int s = 0; s < kServers; ++s) {
      servers.Go(
          [=, ctx = ctx, server = listeners[s].address()] { answers.Send({s, Ask(ctx, server)}); });
    }

    std::array<std::string, kServers> seen;  // by server: the order of arrival is chance
    for (int received = 0, good = 0; received < kServers; ++received) {
      const Answer answer = *answers.Recv();
      seen[answer.server] = answer.text.ok() ? "answered " + *answer.text : "let go";
      if (answer.text.ok() && ++good == kEnough) cancel();
    }
    servers.Wait();
    for (int s = 0; s < kServers; ++s) std::printf("server %d: %s\n", s, seen[s].c_str());
    return 0;
  });
}
