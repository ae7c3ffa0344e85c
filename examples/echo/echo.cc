// An echo server: one goroutine accepts, each connection has a goroutine of its own, and the code
// reads as if it blocked. Only the goroutine waits; its thread runs the others.
#include <array>
#include <cstdio>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/runtime/net/accept_loop.h"
#include "plimsoll/runtime/net/address.h"
#include "plimsoll/runtime/net/conn.h"
#include "plimsoll/runtime/net/listener.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace net = plimsoll::net;

namespace {

// Sends back what comes, until the client has sent all (0) or is gone (an error).
void Echo(const net::Conn& conn) {
  std::array<char, 4096> buffer;
  while (true) {
    const absl::StatusOr<size_t> n = conn.Read(buffer);
    if (!n.ok() || *n == 0) return;
    if (!conn.Write({buffer.data(), *n}).ok()) return;
  }
}

// Says `text` and tells what came back.
std::string Say(const net::Address& server, std::string_view text) {
  const absl::StatusOr<net::Conn> conn = net::Dial(server);
  if (!conn.ok()) return conn.status().ToString();
  if (absl::Status said = conn->Write(text); !said.ok()) return said.ToString();
  if (absl::Status ended = conn->CloseWrite(); !ended.ok()) return ended.ToString();
  std::string heard;
  std::array<char, 4> few;  // TCP is a stream: what was said at once may be heard in pieces
  while (true) {
    const absl::StatusOr<size_t> n = conn->Read(few);
    if (!n.ok()) return n.status().ToString();
    if (*n == 0) return heard;
    heard.append(few.data(), *n);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    // Port 0: the kernel chooses one that is free.
    const absl::StatusOr<net::Listener> listener = net::Listen(*net::Address::Parse("127.0.0.1:0"));
    if (!listener.ok()) {
      std::fprintf(stderr, "echo: %s\n", listener.status().ToString().c_str());
      return 1;
    }
    plimsoll::WaitGroup serving;
    serving.Go([&] {
      net::AcceptLoop(*listener,
                      [&](const net::Conn& conn) { serving.Go([conn] { Echo(conn); }); });
    });

    std::array<std::string, 3> heard;
    constexpr std::array<std::string_view, 3> kTexts = {"good morning", "bonjour", "guten Morgen"};
    plimsoll::WaitGroup clients;
    for (size_t c = 0; c < kTexts.size(); ++c) {
      clients.Go([&heard, &kTexts, c, server = listener->address()] {
        heard[c] = Say(server, kTexts[c]);
      });
    }
    clients.Wait();
    for (size_t c = 0; c < kTexts.size(); ++c) {
      std::printf("client %zu heard: %s\n", c + 1, heard[c].c_str());
    }
    listener->Close().IgnoreError();
    serving.Wait();
    std::puts("all connections have ended");
    return 0;
  });
}
