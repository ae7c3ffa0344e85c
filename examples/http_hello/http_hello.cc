// HTTP: a router picks a handler by method and path; a handler may block as it likes, since each
// connection is a goroutine. Shutdown answers what was begun, and then returns.
#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/http/request.h"
#include "plimsoll/runtime/http/response_writer.h"
#include "plimsoll/runtime/http/router.h"
#include "plimsoll/runtime/http/server.h"
#include "plimsoll/runtime/net/address.h"
#include "plimsoll/runtime/net/conn.h"
#include "plimsoll/runtime/net/listener.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace http = plimsoll::http;
namespace net = plimsoll::net;

namespace {

http::Handler Routes() {
  http::Router router;
  router.Handle("GET /hello/", [](http::Request& request, http::ResponseWriter& response) {
    std::string name(request.path().substr(std::string_view("/hello/").size()));
    if (name.empty()) name = "world";
    response.Respond(200, "text/plain; charset=utf-8", absl::StrCat("hello, ", name, "\n"));
  });
  router.Handle("POST /shout", [](http::Request& request, http::ResponseWriter& response) {
    const absl::StatusOr<std::string> body = request.ReadAll();
    if (!body.ok()) return response.Respond(400, "text/plain", body.status().ToString());
    response.Respond(200, "text/plain; charset=utf-8", absl::StrCat(*body, "!\n"));
  });
  return std::move(router).Build();
}

// What a client sees of one exchange: the status line, and the body where there is one.
std::string Ask(const net::Address& server, const std::string& head, const std::string& body = "") {
  const absl::StatusOr<net::Conn> conn = net::Dial(server);
  if (!conn.ok()) return conn.status().ToString();
  const absl::Status asked =
      conn->Write(absl::StrCat(head, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
                               "Content-Length: ", body.size(), "\r\n\r\n", body));
  if (!asked.ok()) return asked.ToString();
  std::string answer;
  std::array<char, 512> buffer;
  while (true) {
    const absl::StatusOr<size_t> n = conn->Read(buffer);
    if (!n.ok()) return n.status().ToString();
    if (*n == 0) break;
    answer.append(buffer.data(), *n);
  }
  const size_t line = answer.find("\r\n");
  const size_t end = answer.find("\r\n\r\n");
  if (line == answer.npos || end == answer.npos) return absl::StrCat("no HTTP: ", answer);
  return absl::StrCat(answer.substr(0, line), "\n  ", answer.substr(end + 4));
}

}  // namespace

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    // Port 0: the kernel chooses one that is free.
    const absl::StatusOr<net::Listener> listener = net::Listen(*net::Address::Parse("127.0.0.1:0"));
    if (!listener.ok()) {
      std::fprintf(stderr, "http_hello: %s\n", listener.status().ToString().c_str());
      return 1;
    }
    http::Server server(Routes());
    plimsoll::WaitGroup serving;
    serving.Go([&] { server.Serve(*listener); });

    const net::Address at = listener->address();
    for (const std::string head : {"GET /hello/", "GET /hello/Samuel", "DELETE /hello/"}) {
      std::printf("%s\n  %s", head.c_str(), Ask(at, head).c_str());
    }
    std::printf("POST /shout\n  %s", Ask(at, "POST /shout", "load line").c_str());

    const absl::Status drained = server.Shutdown(/*patience=*/absl::Seconds(60));
    serving.Wait();
    std::printf("drained: %s\n", drained.ToString().c_str());
    return 0;
  });
}
