// Servers that a load program asks from outside: N is the port, and they serve until they are
// ended.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/http/request.h"
#include "plimsoll/runtime/http/response_writer.h"
#include "plimsoll/runtime/http/server.h"
#include "plimsoll/runtime/net/accept_loop.h"
#include "plimsoll/runtime/net/address.h"
#include "plimsoll/runtime/net/conn.h"
#include "plimsoll/runtime/net/listener.h"
#include "plimsoll/tools/bench/bench.h"

namespace plimsoll::bench {
namespace {

net::Listener MustListen(const Args& args) {
  if (args.n > 65535) {
    std::fprintf(stderr, "plimsoll_bench: %lld is not a port\n", static_cast<long long>(args.n));
    exit(64);
  }
  absl::StatusOr<net::Listener> listener =
      net::Listen(net::Address::Ipv4({127, 0, 0, 1}, static_cast<uint16_t>(args.n)));
  if (!listener.ok()) {
    std::fprintf(stderr, "plimsoll_bench: %s\n", std::string(listener.status().message()).c_str());
    exit(1);
  }
  return *std::move(listener);
}

// What is read is written back: a goroutine a connection.
void EchoServer(const Args& args) {
  net::AcceptLoop(MustListen(args), [](net::Conn conn) {
    Go([conn = std::move(conn)] {
      char buffer[4096];
      while (true) {
        const absl::StatusOr<size_t> n = conn.Read(buffer);
        if (!n.ok() || *n == 0) return;
        if (!conn.Write({buffer, *n}).ok()) return;
      }
    });
  });
}

// The peers' answer to whatever is asked.
void HttpServer(const Args& args) {
  http::Server server([](http::Request&, http::ResponseWriter& response) {
    response.Respond(200, "text/plain", "Hello, World!");
  });
  server.Serve(MustListen(args));
}

constexpr Bench kBenches[] = {
    {"echo_server", "N is a port of 127.0.0.1; what comes in goes back", EchoServer},
    {"http_server", "N is a port of 127.0.0.1; \"Hello, World!\" by HTTP/1.1", HttpServer},
};

}  // namespace

std::span<const Bench> NetBenches() { return kBenches; }

}  // namespace plimsoll::bench
