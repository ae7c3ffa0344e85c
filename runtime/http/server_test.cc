// The server over real sockets, on two Ps.
#include "plimsoll/runtime/http/server.h"

#include <atomic>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/net/conn.h"
#include "plimsoll/runtime/net/listener.h"

namespace plimsoll::http {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
constexpr std::string_view kLastGet = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

// A server on a port of the kernel's choice. It may not have begun to serve yet.
class Running {
 public:
  explicit Running(Handler handler, ServerOptions options = {})
      : server(std::move(handler), std::move(options)),
        listener(*net::Listen(*net::Address::Parse("127.0.0.1:0"))) {
    Go([this] {
      server.Serve(listener);
      ended.Send(true);
    });
  }
  ~Running() {
    server.Shutdown(absl::Seconds(20)).IgnoreError();
    ended.Recv();
  }
  net::Conn Dial() { return *net::Dial(listener.address()); }

  Server server;
  net::Listener listener;
  Channel<bool> ended{1};
};

std::string ReadUntilEnd(const net::Conn& conn) {
  std::string all;
  char buffer[4096];
  while (true) {
    absl::StatusOr<size_t> n = conn.Read(buffer);
    if (!n.ok() || *n == 0) return all;
    all.append(buffer, *n);
  }
}

// Reads one response that has a Content-Length.
std::string ReadResponse(const net::Conn& conn) {
  std::string all;
  char c;
  while (all.find("\r\n\r\n") == std::string::npos) {
    absl::StatusOr<size_t> n = conn.Read({&c, 1});
    if (!n.ok() || *n == 0) return all;
    all.push_back(c);
  }
  size_t left = std::stoul(all.substr(all.find("Content-Length: ") + 16));
  while (left > 0) {
    absl::StatusOr<size_t> n = conn.Read({&c, 1});
    if (!n.ok() || *n == 0) return all;
    all.push_back(c);
    --left;
  }
  return all;
}

void Hello(Request&, ResponseWriter& response) { response.Respond(200, "text/plain", "hello"); }

TEST(ServerTest, AnswersManyConnectionsAtOnceEachManyTimes) {
  Running running(Hello);
  constexpr int kClients = 50, kRequests = 20;
  Channel<int> done(kClients);
  for (int i = 0; i < kClients; ++i) {
    Go([&] {
      const net::Conn conn = running.Dial();
      int good = 0;
      for (int r = 0; r < kRequests; ++r) {
        if (!conn.Write(kGet).ok()) break;
        good += ReadResponse(conn).ends_with("\r\n\r\nhello") ? 1 : 0;
      }
      done.Send(good);
    });
  }
  for (int i = 0; i < kClients; ++i) EXPECT_EQ(done.Recv(), kRequests);
}

TEST(ServerTest, AClientThatEndsItsSideAfterTheRequestIsAnswered) {
  Running running(Hello);
  const net::Conn conn = running.Dial();
  ASSERT_TRUE(conn.Write(kGet).ok());
  ASSERT_TRUE(conn.CloseWrite().ok());
  EXPECT_TRUE(ReadUntilEnd(conn).ends_with("\r\n\r\nhello"));
}

TEST(ServerTest, GarbageAndHangingUpHalfWayDoNoHarm) {
  Running running(Hello);
  for (int i = 0; i < 20; ++i) {
    const net::Conn garbage = running.Dial();
    ASSERT_TRUE(garbage.Write(std::string_view("\x16\x03\x01\0\xff", 5)).ok());
    EXPECT_TRUE(ReadUntilEnd(garbage).starts_with("HTTP/1.1 400 "));
    const net::Conn half = running.Dial();
    ASSERT_TRUE(half.Write(kGet.substr(0, static_cast<size_t>(i))).ok());
    ASSERT_TRUE(half.Close().ok());
  }
  const net::Conn good = running.Dial();
  ASSERT_TRUE(good.Write(kLastGet).ok());
  EXPECT_TRUE(ReadUntilEnd(good).ends_with("hello"));
}

TEST(ServerTest, ALongErrorAnswerIsNotLostToAReset) {
  // The client is still sending when the answer comes; a plain close would reset the connection.
  Running running(Hello);
  const net::Conn conn = running.Dial();
  Go([conn] { conn.Write("GET /" + std::string(200'000, 'a')).IgnoreError(); });
  EXPECT_TRUE(ReadUntilEnd(conn).starts_with("HTTP/1.1 414 "));
}

TEST(ServerTest, ASlowHeadIsAnswered408AndAnIdleConnectionIsClosed) {
  ServerOptions options;
  options.limits.head_timeout = absl::Milliseconds(30);
  options.limits.idle_timeout = absl::Milliseconds(60);
  Running running(Hello, options);
  const net::Conn slow = running.Dial();
  ASSERT_TRUE(slow.Write(kGet.substr(0, 10)).ok());
  const net::Conn idle = running.Dial();
  ASSERT_TRUE(idle.Write(kGet).ok());
  EXPECT_TRUE(ReadUntilEnd(slow).starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(ReadUntilEnd(idle).ends_with("hello"));
}

TEST(ServerTest, ConnectionsBeyondTheLimitAreTold503) {
  ServerOptions options;
  options.max_connections = 2;
  Running running(Hello, options);
  const net::Conn a = running.Dial(), b = running.Dial();
  for (const net::Conn& conn : {a, b}) {
    ASSERT_TRUE(conn.Write(kGet).ok());
    EXPECT_TRUE(ReadResponse(conn).starts_with("HTTP/1.1 200 "));
  }
  EXPECT_TRUE(ReadUntilEnd(running.Dial()).starts_with("HTTP/1.1 503 "));
  ASSERT_TRUE(a.Close().ok());
  std::string answer;
  do {  // until the server has seen that one has gone
    const net::Conn c = running.Dial();
    c.Write(kLastGet).IgnoreError();
    answer = ReadUntilEnd(c);
  } while (!answer.starts_with("HTTP/1.1 200 "));
}

TEST(ServerTest, ShutdownAnswersWhatWasBegunClosesWhatIsIdleAndAcceptsNoMore) {
  Channel<bool> entered, leave;
  auto running = std::make_unique<Running>([&](Request& request, ResponseWriter& response) {
    if (request.path() == "/slow") {
      entered.Send(true);
      leave.Recv();
    }
    Hello(request, response);
  });
  const net::Address address = running->listener.address();
  const net::Conn idle = running->Dial(), slow = running->Dial(), silent = running->Dial();
  ASSERT_TRUE(idle.Write(kGet).ok());
  EXPECT_TRUE(ReadResponse(idle).ends_with("hello"));
  ASSERT_TRUE(slow.Write("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").ok());
  entered.Recv();

  Channel<absl::Status> shut;
  Go([&] { shut.Send(running->server.Shutdown(absl::Seconds(20))); });
  EXPECT_EQ(ReadUntilEnd(idle), "") << "closed, while the slow one is being answered";
  EXPECT_EQ(ReadUntilEnd(silent), "");
  EXPECT_EQ(net::Dial(address).status().code(), absl::StatusCode::kUnavailable);
  leave.Send(true);
  const std::string answer = ReadUntilEnd(slow);
  EXPECT_TRUE(answer.ends_with("hello"));
  EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(shut.Recv()->ok());
  EXPECT_EQ(running->server.connections(), 0u);
}

TEST(ServerTest, AConnectionThatGotInBeforeShutdownIsAskedForItsFirstRequest) {
  ServerOptions options;
  options.limits.first_request = absl::Hours(1);
  auto running = std::make_unique<Running>(Hello, options);
  const net::Address address = running->listener.address();
  {
    const net::Conn first = running->Dial();  // once it is answered, Serve has begun
    ASSERT_TRUE(first.Write(kLastGet).ok());
    ASSERT_TRUE(ReadUntilEnd(first).ends_with("hello"));
  }
  const net::Conn fresh = running->Dial();
  Channel<absl::Status> shut;
  Go([&] { shut.Send(running->server.Shutdown(absl::Seconds(20))); });
  while (net::Dial(address).ok()) {
  }
  ASSERT_TRUE(fresh.Write(kGet).ok());
  const std::string answer = ReadUntilEnd(fresh);
  EXPECT_TRUE(answer.ends_with("hello")) << answer;
  EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(shut.Recv()->ok());
}

TEST(ServerTest, ServeAfterShutdownRefusesClientsInsteadOfLeavingThemInTheQueue) {
  Server server(Hello);
  ASSERT_TRUE(server.Shutdown(absl::Seconds(20)).ok());
  const net::Listener listener = *net::Listen(*net::Address::Parse("127.0.0.1:0"));
  const net::Address address = listener.address();
  server.Serve(listener);
  EXPECT_FALSE(net::Dial(address).ok());
}

TEST(ServerTest, WhoGotInWhileItShutsDownIsAnsweredAndTheOthersAreRefused) {
  // All at once: before Linux 5.7 the last dial of each waits for the second on which TCP repeats
  // itself.
  constexpr int kServers = 10, kClients = 4;
  std::atomic<int> answered{0}, lost{0}, refused{0};
  Channel<bool> ended(kServers);
  for (int s = 0; s < kServers; ++s) {
    Go([&] {
      Running running(Hello);
      Channel<bool> done(kClients);
      std::atomic<int> mine{0};
      for (int c = 0; c < kClients; ++c) {
        Go([&] {
          while (true) {
            const absl::StatusOr<net::Conn> conn = net::Dial(running.listener.address());
            if (!conn.ok()) break;
            conn->Write(kLastGet).IgnoreError();
            ++(ReadUntilEnd(*conn).ends_with("hello") ? answered : lost);
            ++mine;
          }
          ++refused;
          done.Send(true);
        });
      }
      while (mine < 50) running.listener.Rest(absl::Milliseconds(1));
      EXPECT_TRUE(running.server.Shutdown(absl::Seconds(20)).ok());
      for (int c = 0; c < kClients; ++c) done.Recv();
      ended.Send(true);
    });
  }
  for (int s = 0; s < kServers; ++s) ended.Recv();
  EXPECT_GE(answered, kServers * 50);
  EXPECT_EQ(refused, kServers * kClients);
  EXPECT_EQ(lost, 0);
}

TEST(ServerTest, ShutdownCutsOffWhatIsNotDoneAtItsDeadline) {
  Channel<bool> entered, leave;
  Running running([&](Request&, ResponseWriter& response) {
    entered.Send(true);
    leave.Recv();
    response.Respond(200, "text/plain", "too late");
  });
  const net::Conn stuck = running.Dial();
  ASSERT_TRUE(stuck.Write(kGet).ok());
  entered.Recv();
  const absl::Status status = running.server.Shutdown(absl::Milliseconds(5));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(std::string(status.message()).find("1 connection was cut off"), std::string::npos)
      << status;
  EXPECT_EQ(ReadUntilEnd(stuck), "");
  leave.Send(true);
}

TEST(ServerTest, ShutdownUnderLoadLosesNoAnswerToARequestThatWasBegun) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> begun{0}, answered{0};
    auto running = std::make_unique<Running>([&](Request& request, ResponseWriter& response) {
      ++begun;
      Hello(request, response);
    });
    constexpr int kClients = 10;
    Channel<bool> done(kClients);
    for (int i = 0; i < kClients; ++i) {
      Go([&, conn = running->Dial()] {
        while (conn.Write(kGet).ok() && ReadResponse(conn).ends_with("hello")) ++answered;
        done.Send(true);
      });
    }
    while (begun < 100) running->Dial();
    EXPECT_TRUE(running->server.Shutdown(absl::Seconds(20)).ok());
    for (int i = 0; i < kClients; ++i) done.Recv();
    EXPECT_EQ(begun, answered) << round;
  }
}

TEST(ServerTest, AHandlerThatThrowsEndsItsConnectionAlone) {
  Running running([](Request& request, ResponseWriter& response) {
    if (request.path() == "/throw") throw std::runtime_error("on purpose");
    Hello(request, response);
  });
  const net::Conn good = running.Dial(), bad = running.Dial();
  ASSERT_TRUE(bad.Write("GET /throw HTTP/1.1\r\nHost: h\r\n\r\n").ok());
  EXPECT_TRUE(ReadUntilEnd(bad).starts_with("HTTP/1.1 500 "));
  ASSERT_TRUE(good.Write(kGet).ok());
  EXPECT_TRUE(ReadResponse(good).ends_with("hello"));
}

}  // namespace
}  // namespace plimsoll::http
