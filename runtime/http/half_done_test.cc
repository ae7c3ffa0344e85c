// The end of a server while a client's handshake is half done: the kernel's answer to the client's
// first packet is lost, and repeated after a second.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/http/server.h"
#include "plimsoll/runtime/net/address.h"
#include "plimsoll/runtime/net/conn.h"
#include "plimsoll/runtime/net/listener.h"

namespace plimsoll::http {
namespace {

constexpr std::string_view kLastGet = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

TEST(HalfDoneTest, AHandshakeThatIsHalfDoneIsWaitedFor) {
  ServerOptions options;
  options.handshake = absl::ZeroDuration();
  Server server(
      [](Request&, ResponseWriter& response) { response.Respond(200, "text/plain", "hello"); },
      options);
  const net::Listener listener = *net::Listen(*net::Address::Parse("127.0.0.1:0"));
  Channel<bool> ended(1);
  Go([&] {
    server.Serve(listener);
    ended.Send(true);
  });
  {
    const absl::StatusOr<net::Conn> first = net::Dial(listener.address());
    ASSERT_TRUE(first.ok()) << first.status();
    ASSERT_TRUE(first->Write(kLastGet).ok());
    char buffer[4096];
    for (absl::StatusOr<size_t> n = 1; n.ok() && *n > 0;) n = first->Read(buffer);
  }  // answered: Serve has begun
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(fd, 0);
  sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog filter = {1, &nothing};
  const bool attached = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0;
  std::string answer;
  std::thread client([&] {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(listener.address().port());
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) return;
    if (send(fd, kLastGet.data(), kLastGet.size(), MSG_NOSIGNAL) < 0) return;
    char buffer[4096];
    for (ssize_t n; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
  });
  bool told = false;
  for (int i = 0; i < 500 && !told; ++i) {
    told = listener.HandshakesHalfDone();
    if (!told) listener.Rest(absl::Milliseconds(1));
  }
  Channel<absl::Status> shut(1);
  Go([&] { shut.Send(server.Shutdown(absl::Seconds(20))); });
  setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &filter, sizeof(filter));
  EXPECT_TRUE(shut.Recv()->ok());
  ended.Recv();
  client.join();
  close(fd);
  if (!attached) GTEST_SKIP() << "no socket filter may be attached here";
  if (!told) GTEST_SKIP() << "this kernel does not tell of half done handshakes";
  EXPECT_TRUE(answer.ends_with("hello")) << answer;
}

TEST(HalfDoneTest, WhoIsHalfInDoesNotTakeTheTimeOfThoseThatAreIn) {
  Server server(
      [](Request&, ResponseWriter& response) { response.Respond(200, "text/plain", "hello"); });
  const net::Listener listener = *net::Listen(*net::Address::Parse("127.0.0.1:0"));
  Channel<bool> ended(1);
  Go([&] {
    server.Serve(listener);
    ended.Send(true);
  });
  const absl::StatusOr<net::Conn> kept = net::Dial(listener.address());
  ASSERT_TRUE(kept.ok()) << kept.status();
  ASSERT_TRUE(kept->Write("GET / HTTP/1.1\r\nHost: h\r\n\r\n").ok());
  std::string answer;
  while (!answer.ends_with("hello")) {
    char buffer[4096];
    const absl::StatusOr<size_t> n = kept->Read(buffer);
    ASSERT_TRUE(n.ok() && *n > 0) << answer;
    answer.append(buffer, *n);
  }
  // Nobody hears the kernel's answer to this one.
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog filter = {1, &nothing};
  const bool attached = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(listener.address().port());
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  (void)!connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to));
  bool told = false;
  for (int i = 0; i < 50 && attached && !told; ++i) {
    told = listener.HandshakesHalfDone();
    if (!told) listener.Rest(absl::Milliseconds(1));
  }
  // Less than late_handshake.
  const absl::Status shut = server.Shutdown(absl::Seconds(1));
  ended.Recv();
  close(fd);
  EXPECT_TRUE(shut.ok()) << shut;
  if (!told) GTEST_SKIP() << "no handshake can be held half done here, or seen so";
}

}  // namespace
}  // namespace plimsoll::http
