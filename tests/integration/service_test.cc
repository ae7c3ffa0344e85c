// The example service as a process, asked over real sockets by clients that know nothing of it.
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/tests/integration/child.h"
#include "plimsoll/tests/integration/client.h"

namespace plimsoll::testing {
namespace {

constexpr std::string_view kAnswer =
    "\r\n\r\nThe squares of 1 to 1000, shared by 4 goroutines over a channel, add up to "
    "333833500.\n";

std::string Program() { return Runfile("examples/service/service"); }

// The service on a port of the kernel's choice, on two Ps whatever the machine.
class Running : public Child {
 public:
  explicit Running(std::vector<std::string> flags = {}, std::function<void()> before_exec = nullptr)
      : Child(Command(std::move(flags)), [before_exec] {
          setenv("GOMAXPROCS", "2", 1);
          if (before_exec) before_exec();
        }) {
    const std::string line = WaitForLine("listening on ");
    const size_t colon = line.rfind(':');
    EXPECT_NE(colon, std::string::npos) << err();
    if (colon != std::string::npos) port = static_cast<uint16_t>(std::stoi(line.substr(colon + 1)));
  }
  uint16_t port = 0;

 private:
  static std::vector<std::string> Command(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {Program(), "--host", "127.0.0.1", "--port", "0"});
    return flags;
  }
};

void ExpectServes(uint16_t port) {
  const std::string answer = Get(port, "/");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_TRUE(answer.ends_with(kAnswer)) << answer;
}

// A request and a piece of a second in one packet: once the first is answered, the second has
// begun.
void BeginSecond(const Client& client) {
  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HT"));
  EXPECT_TRUE(client.ReadUntil("333833500.\n").ends_with(kAnswer));
}

TEST(ServiceTest, AnswersItsRoutesAndEndsWithZeroAfterSigterm) {
  Running service;
  ExpectServes(service.port);
  const std::string limits = Get(service.port, "/limits");
  EXPECT_NE(limits.find("Content-Type: application/json\r\n"), std::string::npos);
  EXPECT_NE(limits.find("\"procs\": 2"), std::string::npos) << limits;
  EXPECT_NE(limits.find("\"trees\""), std::string::npos) << limits;
  for (const std::string_view path : {"/startupz", "/livez", "/readyz"}) {
    EXPECT_TRUE(Get(service.port, path).ends_with("\r\n\r\nok\n")) << path;
  }
  EXPECT_NE(Get(service.port, "/readyz?verbose").find("[+]started ok\n"), std::string::npos);
  EXPECT_TRUE(Get(service.port, "/none").starts_with("HTTP/1.1 404 "));
  service.Kill(SIGTERM);
  EXPECT_EQ(service.Wait(), 0) << service.err();
  EXPECT_NE(service.err().find("plimsoll: P = 2"), std::string::npos) << service.err();
  EXPECT_NE(service.err().find("plimsoll: io_uring: "), std::string::npos) << service.err();
  EXPECT_NE(service.err().find("SIGTERM: not ready from now on"), std::string::npos);
  EXPECT_NE(service.err().find("drained; exit 0"), std::string::npos);
  EXPECT_EQ(service.out(), "");
}

TEST(ServiceTest, ARequestBegunBeforeSigtermIsAnsweredAndNoneAfter) {
  Running service;
  const Client begun(service.port);
  BeginSecond(begun);
  const Client idle(service.port);
  ASSERT_TRUE(idle.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_TRUE(idle.ReadUntil("333833500.\n").ends_with(kAnswer));
  service.Kill(SIGTERM);
  EXPECT_EQ(idle.ReadAll(), "") << "an idle connection is closed";
  EXPECT_EQ(Get(service.port, "/"), "not connected");
  ASSERT_TRUE(begun.Send("TP/1.1\r\nHost: h\r\n\r\n"));
  const std::string answer = begun.ReadAll();
  EXPECT_TRUE(answer.ends_with(kAnswer)) << answer;
  EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << answer;
  EXPECT_EQ(service.Wait(), 0) << service.err();
}

TEST(ServiceTest, SigtermUnderLoadResetsNobody) {
  Running service;
  ASSERT_NE(service.port, 0);
  constexpr int kClients = 8;
  std::atomic<int> answered{0}, ended{0};
  std::vector<std::string> last(kClients);
  std::vector<std::thread> clients;
  for (std::string& end : last) {
    clients.emplace_back([&] {
      while ((end = Get(service.port, "/")).ends_with(kAnswer)) ++answered;
      ++ended;
    });
  }
  while (answered < 200 && ended < kClients) std::this_thread::yield();
  service.Kill(SIGTERM);
  for (std::thread& t : clients) t.join();
  for (const std::string& end : last) EXPECT_EQ(end, "not connected");
  EXPECT_EQ(service.Wait(), 0) << service.err();
}

TEST(ServiceTest, InItsGraceItServesAndSaysThatItIsNotReady) {
  Running service({"--grace", "30"});
  EXPECT_TRUE(Get(service.port, "/readyz").starts_with("HTTP/1.1 200 "));
  service.Kill(SIGTERM);
  ASSERT_NE(service.WaitForLine("SIGTERM"), "");
  EXPECT_TRUE(Get(service.port, "/readyz").starts_with("HTTP/1.1 503 "));
  EXPECT_TRUE(Get(service.port, "/livez").starts_with("HTTP/1.1 200 "));
  // Not before: until then it is the same request, sent twice.
  const auto again = std::chrono::steady_clock::now() + std::chrono::milliseconds(210);
  do {
    ExpectServes(service.port);
  } while (std::chrono::steady_clock::now() < again);
  service.Kill(SIGTERM);
  EXPECT_EQ(service.Wait(), 128 + SIGTERM) << "the second ends it at once";
  EXPECT_NE(service.err().find("SIGTERM again: exit at once"), std::string::npos);
}

TEST(ServiceTest, OneRequestToEndThatComesTwiceIsOne) {
  Running service;
  const Client begun(service.port);
  BeginSecond(begun);
  service.Kill(SIGTERM);
  service.Kill(SIGINT);
  ASSERT_TRUE(begun.Send("TP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_TRUE(begun.ReadAll().ends_with(kAnswer));
  EXPECT_EQ(service.Wait(), 0) << service.err();
}

TEST(ServiceTest, AStderrThatNobodyReadsDoesNotEndIt) {
  Running service({}, [] { signal(SIGPIPE, SIG_DFL); });
  service.CloseErr();
  ExpectServes(service.port);
  service.Kill(SIGTERM);
  EXPECT_EQ(service.Wait(), 0) << "it says \"not ready\" and \"drained\" on stderr";
}

TEST(ServiceTest, WhatIsNotDoneWhenTheDrainEndsIsCutOff) {
  Running service({"--drain", "0.05"});
  const Client stuck(service.port);
  BeginSecond(stuck);
  service.Kill(SIGINT);
  EXPECT_EQ(service.Wait(), 0);
  EXPECT_NE(service.err().find("1 connection was cut off"), std::string::npos) << service.err();
}

TEST(ServiceTest, APortThatIsTakenIsAnErrorWithItsCause) {
  Running first;
  Child second({Program(), "--host=127.0.0.1", "--port=" + std::to_string(first.port)});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_NE(second.err().find("plimsoll: listen tcp 127.0.0.1:" + std::to_string(first.port) +
                              ": EADDRINUSE (Address already in use)\n"),
            std::string::npos)
      << second.err();
  ExpectServes(first.port);
}

TEST(ServiceTest, WithoutAddressSpaceForItsFirstStackItNamesTheLimit) {
  if (base::kAsan || base::kTsan) GTEST_SKIP() << "a sanitizer's shadow is larger than any limit";
  Child service({Program(), "--host=127.0.0.1", "--port=0"}, [] {
    const rlimit small{60 << 20, 60 << 20};
    setrlimit(RLIMIT_AS, &small);
  });
  EXPECT_EQ(service.Wait(), 2);
  EXPECT_NE(service.err().find("fatal error: runtime: cannot allocate memory for a goroutine's "
                               "stack (0 goroutines); the address space is limited to 60 MiB "
                               "(ulimit -v)"),
            std::string::npos)
      << service.err();
  EXPECT_EQ(service.err().find("CHECK"), std::string::npos) << service.err();
}

TEST(ServiceTest, WithoutDescriptorsItSaysSoAndGoesOn) {
  constexpr rlim_t kDescriptors = 40;
  Running service({}, [] {
    const rlimit low{kDescriptors, kDescriptors};
    setrlimit(RLIMIT_NOFILE, &low);
  });
  {
    std::vector<Client> clients;
    for (rlim_t i = 0; i < 2 * kDescriptors; ++i) clients.emplace_back(service.port);
    EXPECT_NE(service.WaitForLine("EMFILE").find("the service goes on"), std::string::npos)
        << service.err();
    // The last ones are turned away, not left waiting; the first ones are served.
    EXPECT_EQ(clients.back().ReadAll(), "");
    ASSERT_TRUE(clients.front().Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    EXPECT_TRUE(clients.front().ReadUntil("333833500.\n").ends_with(kAnswer));
  }
  ExpectServes(service.port);
  service.Kill(SIGTERM);
  EXPECT_EQ(service.Wait(), 0) << service.err();
}

TEST(ServiceTest, ClientsThatMisbehaveHarmNobodyElse) {
  Running service;
  const Client slow(service.port);
  ASSERT_TRUE(slow.Send("G"));
  for (int i = 0; i < 50; ++i) {
    const Client garbage(service.port);
    garbage.Send(std::string_view("\x16\x03\x01\0\0\xff\xff", 7));
    EXPECT_TRUE(garbage.ReadAll().starts_with("HTTP/1.1 400 "));
    const Client half(service.port);
    half.Send("GET / HTTP/1.1\r\nHos");  // and hangs up
    const Client smuggler(service.port);
    smuggler.Send(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        "\r\nGET /admin HTTP/1.1\r\nHost: h\r\n\r\n");
    const std::string answer = smuggler.ReadAll();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 "));
    EXPECT_EQ(answer.find("HTTP/1.1", 5), std::string::npos) << "only one answer";
  }
  const Client half_closed(service.port);
  half_closed.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  half_closed.EndSending();
  EXPECT_TRUE(half_closed.ReadAll().ends_with(kAnswer));
  ExpectServes(service.port);
  service.Kill(SIGTERM);
  slow.EndSending();
  EXPECT_EQ(service.Wait(), 0) << service.err();
}

TEST(ServiceTest, ExplainsItselfAndRefusesWhatMakesNoSense) {
  Child help({Program(), "--help"});
  EXPECT_EQ(help.Wait(), 0);
  EXPECT_NE(help.out().find("--port N"), std::string::npos);
  EXPECT_EQ(help.err(), "");
  Child wrong({Program(), "--port", "http"});
  EXPECT_EQ(wrong.Wait(), 2);
  EXPECT_EQ(wrong.err(), "service: --port: \"http\" is not a port from 0 to 65535\n");
}

}  // namespace
}  // namespace plimsoll::testing
