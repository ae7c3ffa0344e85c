#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <random>
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
#include "plimsoll/runtime/net/accept_loop.h"
#include "plimsoll/runtime/net/address.h"
#include "plimsoll/runtime/net/conn.h"
#include "plimsoll/runtime/net/listener.h"

namespace plimsoll::net {
namespace {

// An abstract name that no other run of this test has. Not by the PID: runs in PID namespaces of
// their own may share the network's.
std::string Unix(std::string_view name) {
  static const unsigned run = std::random_device()();
  return "unix:@plimsoll-net-test-" + std::to_string(run) + "-" + std::string(name);
}

Listener MustListen(std::string_view text = "127.0.0.1:0") {
  absl::StatusOr<Listener> listener = Listen(*Address::Parse(text));
  EXPECT_TRUE(listener.ok()) << listener.status();
  return *std::move(listener);
}

// Both ends of a connection over the loopback.
struct Ends {
  explicit Ends(std::string_view text = "127.0.0.1:0") {
    const Listener listener = MustListen(text);
    absl::StatusOr<Conn> dialed = Dial(listener.address());
    EXPECT_TRUE(dialed.ok()) << dialed.status();
    absl::StatusOr<Conn> accepted = listener.Accept();
    EXPECT_TRUE(accepted.ok()) << accepted.status();
    client = *std::move(dialed);
    server = *std::move(accepted);
  }
  Conn client{nullptr}, server{nullptr};
};

absl::StatusOr<std::string> ReadSome(const Conn& conn, size_t at_most = 4096) {
  std::string buffer(at_most, '\0');
  absl::StatusOr<size_t> n = conn.Read(buffer);
  if (!n.ok()) return n.status();
  return buffer.substr(0, *n);
}

absl::StatusOr<std::string> ReadAll(const Conn& conn) {
  std::string all;
  while (true) {
    absl::StatusOr<std::string> some = ReadSome(conn);
    if (!some.ok()) return some.status();
    if (some->empty()) return all;
    all += *some;
  }
}

bool Holds(const absl::Status& status, std::string_view text) {
  return std::string(status.message()).find(text) != std::string::npos;
}

TEST(ConnTest, BytesArriveInOrderBothWays) {
  for (const std::string& where : {std::string("127.0.0.1:0"), Unix("echo")}) {
    // No SCOPED_TRACE on a goroutine that parks: GoogleTest keeps it by thread.
    Ends ends(where);
    std::string sent(3'000'000, '\0');
    for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 31 >> 3);
    Channel<bool> echoed;
    Go([&] {
      char buffer[1000];
      while (true) {
        absl::StatusOr<size_t> n = ends.server.Read(buffer);
        ASSERT_TRUE(n.ok()) << n.status();
        if (*n == 0) break;
        ASSERT_TRUE(ends.server.Write({buffer, *n}).ok());
      }
      ASSERT_TRUE(ends.server.Close().ok());
      echoed.Send(true);
    });
    Go([&sent, client = ends.client] {
      ASSERT_TRUE(client.Write(sent).ok());
      ASSERT_TRUE(client.CloseWrite().ok());
    });
    absl::StatusOr<std::string> got = ReadAll(ends.client);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_TRUE(*got == sent) << where;
    echoed.Recv();
  }
}

TEST(ConnTest, TheEndBehindAShortReadIsSeen) {
  // The FIN may be in the queue before the first read, merged with the data's edge, or come later.
  for (int round = 0; round < 200; ++round) {
    Ends ends;
    if (round % 4 < 2) {
      Go([client = ends.client] {
        client.Write("last words").IgnoreError();
        client.CloseWrite().IgnoreError();
      });
    } else {
      ends.client.Write("last words").IgnoreError();
      ends.client.CloseWrite().IgnoreError();
    }
    if (round % 2 == 0) {
      ASSERT_TRUE(ends.server.AwaitReadable().ok());
    }
    ends.server.SetReadTimeout(absl::Seconds(20));
    absl::StatusOr<std::string> all = ReadAll(ends.server);
    ASSERT_TRUE(all.ok()) << all.status();
    EXPECT_EQ(*all, "last words") << round;
  }
}

TEST(ConnTest, WhatComesAfterAShortReadWakesTheNext) {
  Ends ends;
  for (int i = 0; i < 500; ++i) {
    const std::string message = std::to_string(i);
    Go([client = ends.client, message] { client.Write(message).IgnoreError(); });
    std::string got;
    while (got.size() < message.size()) got += *ReadSome(ends.server);
    ASSERT_EQ(got, message);
  }
}

TEST(ConnTest, AReadThatFillsItsBufferLosesNothing) {
  Ends ends;
  ASSERT_TRUE(ends.client.Write("0123456789").ok());
  ASSERT_TRUE(ends.server.AwaitReadable().ok());
  EXPECT_EQ(*ReadSome(ends.server, 5), "01234");
  ASSERT_TRUE(ends.server.AwaitReadable().ok()) << "returns at once";
  EXPECT_EQ(*ReadSome(ends.server, 5), "56789");
}

TEST(ConnTest, ADeadlineEndsReadAndAwaitReadableAndCanBeMoved) {
  Ends ends;
  ends.server.SetReadTimeout(absl::Milliseconds(5));
  EXPECT_EQ(ReadSome(ends.server).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ends.server.AwaitReadable().code(), absl::StatusCode::kDeadlineExceeded);
  const absl::Status status = ReadSome(ends.server).status();
  EXPECT_TRUE(Holds(status, "read tcp 127.0.0.1:")) << status;
  EXPECT_TRUE(Holds(status, "->127.0.0.1:")) << status;
  ASSERT_TRUE(ends.server.Write("still works").ok());
  ends.server.SetReadDeadline(absl::InfiniteFuture());
  ASSERT_TRUE(ends.client.Write("kept").ok());
  EXPECT_EQ(*ReadSome(ends.server), "kept");
  ends.server.SetDeadline(absl::Now() - absl::Seconds(1));
  EXPECT_EQ(ends.server.Write("late").code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(ConnTest, AWriteToAPeerThatDoesNotReadEndsAtItsDeadline) {
  Ends ends;
  ends.server.SetWriteTimeout(absl::Milliseconds(20));
  const std::string much(64 << 20, 'x');
  const absl::Status status = ends.server.Write(much);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_TRUE(Holds(status, "write tcp")) << status;
}

TEST(ConnTest, CloseEndsCallsInProgressHoweverMany) {
  Ends ends;
  constexpr int kReaders = 5;
  std::atomic<int> started{0};
  Channel<absl::StatusCode> codes(kReaders);
  for (int i = 0; i < kReaders; ++i) {
    Go([&] {
      ++started;
      codes.Send(ReadSome(ends.server).status().code());
    });
  }
  while (started < kReaders) ReadSome(ends.client, 0).IgnoreError();
  ASSERT_TRUE(ends.server.Close().ok());
  for (int i = 0; i < kReaders; ++i) {
    EXPECT_EQ(codes.Recv(), absl::StatusCode::kFailedPrecondition);
  }
  const absl::Status again = ends.server.Close();
  EXPECT_EQ(again.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Holds(again, "use of closed connection")) << again;
  EXPECT_TRUE(absl::IsFailedPrecondition(ends.server.Write("x")));
  EXPECT_TRUE(absl::IsFailedPrecondition(ends.server.CloseWrite()));
  ends.server.SetReadTimeout(absl::Seconds(1));  // no effect, no crash
  EXPECT_EQ(ends.server.local_address().family(), Address::Family::kUnset);
}

TEST(ConnTest, ADescriptorIsNotReusedUnderAReadersHands) {
  // While some close and open, others read: a reader that got another connection's bytes would see
  // the wrong letter.
  constexpr int kRounds = 100;
  const Listener listener = MustListen();
  Channel<bool> done(2);
  for (char letter : {'a', 'b'}) {
    Go([&, letter] {
      for (int i = 0; i < kRounds; ++i) {
        absl::StatusOr<Conn> conn = Dial(listener.address());
        ASSERT_TRUE(conn.ok()) << conn.status();
        ASSERT_TRUE(conn->Write(std::string(1, letter)).ok());
        Go([conn = *conn] { conn.Close().IgnoreError(); });
        absl::StatusOr<std::string> got = ReadSome(*conn);
        if (got.ok() && !got->empty()) {
          EXPECT_EQ((*got)[0], letter);
        }
      }
      done.Send(true);
    });
  }
  Go([&] {
    AcceptLoop(listener, [](Conn conn) {
      Go([conn] {
        absl::StatusOr<std::string> some = ReadSome(conn);
        if (some.ok()) conn.Write(*some).IgnoreError();
      });
    });
    done.Send(true);
  });
  done.Recv();
  done.Recv();
  ASSERT_TRUE(listener.Close().ok());
  done.Recv();
}

TEST(ConnTest, AResetAndAGonePeerAreUnavailableAndNoSignal) {
  Ends ends;
  // Closing over unread bytes resets.
  ASSERT_TRUE(ends.server.Write("unread").ok());
  ASSERT_TRUE(ends.client.AwaitReadable().ok());
  ASSERT_TRUE(ends.client.Close().ok());
  absl::Status status = ReadAll(ends.server).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(Holds(status, "ECONNRESET")) << status;
  do {
    status = ends.server.Write("x");
  } while (status.ok());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(Holds(status, "EPIPE")) << status;
}

TEST(DialTest, ARefusalNamesTheAddressAndTheErrno) {
  Address closed;
  {
    closed = MustListen().address();
  }
  const absl::Status status = Dial(closed).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(Holds(status, "dial tcp " + closed.ToString() + ": ECONNREFUSED")) << status;
}

TEST(DialTest, AnAddressThatNobodyAnswersEndsAtTheTimeout) {
  // A listener whose queue is full drops further connects.
  const absl::StatusOr<Listener> full = Listen(*Address::Parse("127.0.0.1:0"), /*backlog=*/0);
  ASSERT_TRUE(full.ok());
  std::vector<Conn> waiting;
  absl::Status status;
  while (status.ok() && waiting.size() < 10) {
    absl::StatusOr<Conn> conn = Dial(full->address(), absl::Milliseconds(50));
    status = conn.status();
    if (conn.ok()) waiting.push_back(*std::move(conn));
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
}

TEST(ListenerTest, APortThatIsTakenIsNamedWithItsErrno) {
  const Listener first = MustListen();
  const absl::StatusOr<Listener> second = Listen(first.address());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(std::string(second.status().message()),
            "listen tcp " + first.address().ToString() + ": EADDRINUSE (Address already in use)");
}

TEST(ListenerTest, APortCanBeTakenAgainAtOnce) {
  Address address;
  {
    const Listener first = MustListen();
    address = first.address();
    Ends unused;
    absl::StatusOr<Conn> client = Dial(address);
    ASSERT_TRUE(client.ok());
    absl::StatusOr<Conn> server = first.Accept();
    ASSERT_TRUE(server.ok());
    ASSERT_TRUE(server->Close().ok());  // goes to TIME_WAIT, on the listener's port
  }
  EXPECT_TRUE(Listen(address).ok());
}

TEST(ListenerTest, EveryInterfaceMeansIpv4AsWell) {
  const Listener listener = MustListen(":0");
  EXPECT_EQ(listener.address().family(), Address::Family::kAny);
  absl::StatusOr<Conn> client = Dial(Address::Ipv4({127, 0, 0, 1}, listener.address().port()));
  ASSERT_TRUE(client.ok()) << client.status();
  absl::StatusOr<Conn> server = listener.Accept();
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(server->remote_address().ToString(), client->local_address().ToString());
}

TEST(ListenerTest, CloseEndsAccept) {
  const Listener listener = MustListen();
  Channel<absl::StatusCode> code;
  std::atomic<bool> started{false};
  Go([&] {
    started = true;
    code.Send(listener.Accept().status().code());
  });
  while (!started) ReadSome(Ends().client, 0).IgnoreError();
  ASSERT_TRUE(listener.Close().ok());
  EXPECT_EQ(code.Recv(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(listener.Rest(absl::Hours(1))) << "a closed listener does not rest";
}

TEST(ListenerTest, EndQueueHandsOutEveryConnectionThatTheKernelHasTaken) {
  for (const std::string& where : {std::string("127.0.0.1:0"), Unix("queue")}) {
    const Listener listener = MustListen(where);
    constexpr int kClients = 5;
    std::vector<Conn> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.push_back(*Dial(listener.address()));
      ASSERT_TRUE(clients.back().Write("x").ok());
    }
    ASSERT_TRUE(listener.StopHandshakes().ok());
    ASSERT_TRUE(listener.EndQueue().ok());
    for (int i = 0; i < kClients; ++i) {
      const absl::StatusOr<Conn> conn = listener.Accept();
      ASSERT_TRUE(conn.ok()) << where << ": " << conn.status();
      EXPECT_EQ(*ReadSome(*conn), "x");
      ASSERT_TRUE(conn->Write("y").ok());
    }
    for (const Conn& client : clients) EXPECT_EQ(*ReadSome(client), "y") << where;
    EXPECT_EQ(listener.Accept().status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(Dial(listener.address()).status().code(), absl::StatusCode::kUnavailable) << where;
    EXPECT_EQ(listener.EndQueue().code(), absl::StatusCode::kFailedPrecondition);
  }
}

TEST(ListenerTest, AfterStopHandshakesWhoGotInIsServedAndWhoComesIsRefusedAtOnce) {
  for (const std::string_view where : {"127.0.0.1:0", "[::1]:0", ":0"}) {
    const absl::StatusOr<Address> address = Address::Parse(where);
    const absl::StatusOr<Listener> listener = Listen(*address);
    if (!listener.ok() && where == "[::1]:0") continue;  // a machine without IPv6
    ASSERT_TRUE(listener.ok()) << listener.status();
    const Address to = where == ":0" ? Address::Ipv4({127, 0, 0, 1}, listener->address().port())
                                     : listener->address();
    const absl::StatusOr<Conn> in = Dial(to);
    ASSERT_TRUE(in.ok()) << in.status();
    EXPECT_FALSE(listener->HandshakesHalfDone());
    ASSERT_TRUE(listener->StopHandshakes().ok());
    EXPECT_TRUE(Holds(Dial(to).status(), "ECONNREFUSED")) << where;
    ASSERT_TRUE(in->Write("x").ok());
    const absl::StatusOr<Conn> conn = listener->Accept();
    ASSERT_TRUE(conn.ok()) << where << ": " << conn.status();
    EXPECT_EQ(*ReadSome(*conn), "x");
  }
}

TEST(ListenerTest, EndQueueWakesAnAcceptThatWaits) {
  for (const std::string& where : {std::string("127.0.0.1:0"), Unix("wait")}) {
    const Listener listener = MustListen(where);
    Channel<absl::StatusCode> code;
    std::atomic<bool> started{false};
    Go([&] {
      started = true;
      code.Send(listener.Accept().status().code());
    });
    while (!started) ReadSome(Ends().client, 0).IgnoreError();
    ASSERT_TRUE(listener.EndQueue().ok());
    EXPECT_EQ(code.Recv(), absl::StatusCode::kFailedPrecondition) << where;
  }
}

TEST(ListenerTest, WhoConnectsWhileAListenerEndsIsServedOrRefusedAndNeverReset) {
  // All at once: before Linux 5.7 the last dial of each waits for the second on which TCP repeats
  // itself.
  constexpr int kListeners = 20, kClients = 4;
  std::atomic<int> served{0}, refused{0}, cut_off{0};
  Channel<bool> ended(kListeners);
  for (int l = 0; l < kListeners; ++l) {
    Go([&, l] {
      const Listener listener =
          MustListen(l % 4 == 3 ? Unix("end-" + std::to_string(l)) : "127.0.0.1:0");
      Channel<bool> done(kClients);
      std::atomic<int> mine{0};
      for (int c = 0; c < kClients; ++c) {
        Go([&] {
          while (true) {
            const absl::StatusOr<Conn> conn = Dial(listener.address());
            if (!conn.ok()) {
              EXPECT_TRUE(Holds(conn.status(), "ECONNREFUSED")) << conn.status();
              ++refused;
              break;
            }
            conn->Write("x").IgnoreError();
            const absl::StatusOr<std::string> got = ReadAll(*conn);
            ++mine;
            ++(got.ok() && *got == "y" ? served : cut_off);
          }
          done.Send(true);
        });
      }
      Go([&] {
        while (mine < 50) listener.Rest(absl::Milliseconds(1));
        listener.StopHandshakes().IgnoreError();
        listener.Rest(absl::Milliseconds(100));
        listener.EndQueue().IgnoreError();
        done.Send(true);
      });
      AcceptLoop(listener, [](Conn conn) {
        ReadSome(conn).IgnoreError();
        conn.Write("y").IgnoreError();
      });
      for (int i = 0; i < kClients + 1; ++i) done.Recv();
      ended.Send(true);
    });
  }
  for (int l = 0; l < kListeners; ++l) ended.Recv();
  EXPECT_EQ(refused, kListeners * kClients);
  EXPECT_GE(served, kListeners * 50);
  EXPECT_EQ(cut_off, 0);
}

TEST(ListenerTest, AUnixPathIsRemovedWhenTheListenerCloses) {
  char folder[] = "/tmp/net_test.XXXXXX";  // a socket's path must be short, TempDir's is not
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/sock";
  {
    const Listener listener = MustListen("unix:" + path);
    EXPECT_EQ(access(path.c_str(), F_OK), 0);
    EXPECT_TRUE(Dial(listener.address()).ok());
    EXPECT_EQ(Listen(listener.address()).status().code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(access(path.c_str(), F_OK), 0) << "the refused one did not remove it";
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  rmdir(folder);
}

TEST(FromDescriptorTest, APipeIsAStream) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  absl::StatusOr<Conn> in = FromDescriptor(fds[0]);
  ASSERT_TRUE(in.ok()) << in.status();
  Go([out = fds[1]] {
    ASSERT_EQ(write(out, "abc", 3), 3);
    close(out);
  });
  absl::StatusOr<std::string> all = ReadAll(*in);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, "abc");
  EXPECT_FALSE(FromDescriptor(-1).ok());
}

// Holds all descriptors up to a low limit but `left`.
class Shortage {
 public:
  explicit Shortage(int left) {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit low = before_;
    low.rlim_cur = 256;
    setrlimit(RLIMIT_NOFILE, &low);
    int fd;
    while ((fd = dup(0)) >= 0) held_.push_back(fd);
    while (left-- > 0) GiveOne();
  }
  ~Shortage() {
    while (!held_.empty()) GiveOne();
    setrlimit(RLIMIT_NOFILE, &before_);
  }
  void GiveOne() {
    close(held_.back());
    held_.pop_back();
  }

 private:
  rlimit before_;
  std::vector<int> held_;
};

TEST(AcceptLoopTest, WithoutDescriptorsClientsAreTurnedAwayAndTheServiceGoesOn) {
  const Listener listener = MustListen();
  Channel<bool> ended;
  std::atomic<int> served{0};
  Go([&] {
    AcceptLoop(listener, [&](Conn conn) {
      ++served;
      conn.Write("served").IgnoreError();
    });
    ended.Send(true);
  });
  // The loop has its reserve once it has served one.
  absl::StatusOr<Conn> first = Dial(listener.address());
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(*ReadAll(*first), "served");
  testing::internal::CaptureStderr();
  // As many clients as are named, one after the other, find no descriptor.
  const auto turn_away = [&](int clients) {
    Shortage shortage(/*left=*/1);
    for (int i = 0; i < clients; ++i) {
      absl::StatusOr<Conn> client = Dial(listener.address());  // takes the last one
      ASSERT_TRUE(client.ok()) << client.status();
      if (i == 0) {  // later on the loop may be without its reserve, which is free then
        const absl::StatusOr<Conn> no_more = Dial(listener.address());
        EXPECT_EQ(no_more.status().code(), absl::StatusCode::kResourceExhausted);
        EXPECT_TRUE(Holds(no_more.status(), "EMFILE")) << no_more.status();
      }
      // Turned away: an end, not a hang, and no byte.
      absl::StatusOr<std::string> got = ReadAll(*client);
      EXPECT_TRUE(!got.ok() || got->empty()) << *got;
    }
  };
  turn_away(2);
  EXPECT_EQ(served, 1);
  absl::StatusOr<Conn> later = Dial(listener.address());
  ASSERT_TRUE(later.ok());
  EXPECT_EQ(*ReadAll(*later), "served");
  turn_away(1);
  ASSERT_TRUE(listener.Close().ok());
  ended.Recv();
  const std::string said = testing::internal::GetCapturedStderr();
  for (const char* part : {"; the service goes on; 0 connections turned away so far\n",
                           "\nplimsoll: net: accepting again; 2 connections turned away for want "
                           "of descriptors so far\n"}) {
    EXPECT_NE(said.find(part), std::string::npos) << said;
  }
  EXPECT_TRUE(
      said.ends_with("plimsoll: net: closed; 3 connections turned away for want of "
                     "descriptors in all\n"))
      << said;
}

}  // namespace
}  // namespace plimsoll::net
