#include "plimsoll/runtime/http/connection.h"

#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/http/router.h"

namespace plimsoll::http {
namespace {

// What the client sends, one element a packet; then `end`.
class FakeStream : public Stream {
 public:
  FakeStream(std::deque<std::string> packets, absl::Status end = absl::OkStatus())
      : packets_(std::move(packets)), end_(std::move(end)) {}

  absl::StatusOr<size_t> Read(std::span<char> buffer) override {
    ++reads;
    if (on_read) on_read();
    read_timeouts.push_back(read_timeout);
    if (packets_.empty()) {
      if (!end_.ok()) return end_;
      return size_t{0};
    }
    std::string& packet = packets_.front();
    const size_t n = std::min(buffer.size(), packet.size());
    packet.copy(buffer.data(), n);
    packet.erase(0, n);
    if (packet.empty()) packets_.pop_front();
    return n;
  }
  absl::Status AwaitReadable() override {
    ++waits;
    if (on_wait) on_wait();
    return packets_.empty() && !end_.ok() && !wait_succeeds ? end_ : absl::OkStatus();
  }
  absl::Status Write(std::string_view bytes) override {
    if (fail_writes) return absl::UnavailableError("write: EPIPE");
    writes.emplace_back(bytes);
    return absl::OkStatus();
  }
  void SetReadTimeout(absl::Duration timeout) override { read_timeout = timeout; }
  void SetWriteTimeout(absl::Duration timeout) override { write_timeout = timeout; }
  absl::Status CloseWrite() override {
    closed_write = true;
    return absl::OkStatus();
  }

  std::string All() const {
    std::string all;
    for (const std::string& w : writes) all += w;
    return all;
  }

  int reads = 0, waits = 0;
  std::vector<std::string> writes;
  std::vector<absl::Duration> read_timeouts;  // in force at each Read
  absl::Duration read_timeout, write_timeout;
  bool closed_write = false, fail_writes = false, wait_succeeds = false;
  std::function<void()> on_wait, on_read;

 private:
  std::deque<std::string> packets_;
  absl::Status end_;
};

void Converse(FakeStream& stream, const Handler& handler, const ConnectionLimits& limits = {}) {
  const std::atomic<ServerStage> stage{ServerStage::kServing};
  ConnectionState state(stage);
  ServeConnection(stream, state, handler, limits);
}

// Answers with the path and what it read of the body.
void Echo(Request& request, ResponseWriter& response) {
  absl::StatusOr<std::string> body = request.ReadAll();
  if (!body.ok()) {
    response.Respond(absl::IsResourceExhausted(body.status()) ? 413 : 400, "text/plain",
                     std::string(body.status().message()));
    return;
  }
  response.Respond(200, "text/plain", std::string(request.path()) + "[" + *body + "]");
}

// Status codes and bodies of the responses in `all`, as "200:/a[] 400".
std::string Summary(std::string_view all) {
  std::string summary;
  while (!all.empty()) {
    const size_t end = all.find("\r\n\r\n");
    if (end == std::string_view::npos) return summary + " cut:" + std::string(all);
    const std::string_view head = all.substr(0, end + 2);
    all.remove_prefix(end + 4);
    if (!summary.empty()) summary += " ";
    summary += head.substr(9, 3);
    const size_t length_at = head.find("Content-Length: ");
    if (length_at != std::string_view::npos) {
      const size_t length = std::stoul(std::string(head.substr(length_at + 16)));
      if (head.substr(9, 3) == "200") summary += ":" + std::string(all.substr(0, length));
      all.remove_prefix(std::min(length, all.size()));
    }
    if (head.find("Connection: close") != std::string_view::npos) summary += "!";
  }
  return summary;
}

TEST(ConnectionTest, AnswersRequestsHoweverTheyAreCut) {
  const std::string input =
      "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
      "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
      "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
      "GET /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
  for (const size_t piece : {1, 2, 3, 5, 17, 64, 4096}) {
    SCOPED_TRACE(piece);
    std::deque<std::string> packets;
    for (size_t at = 0; at < input.size(); at += piece) packets.push_back(input.substr(at, piece));
    FakeStream stream(std::move(packets));
    Converse(stream, Echo);
    EXPECT_EQ(Summary(stream.All()), "200:/a[] 200:/b[hello] 200:/c[abcde] 200:/d[]!");
  }
}

TEST(ConnectionTest, OneRequestCostsOneReadAndOneWrite) {
  std::deque<std::string> packets;
  for (int i = 0; i < 10; ++i) packets.push_back("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  FakeStream stream(std::move(packets));
  Converse(stream, Echo);
  EXPECT_EQ(stream.reads, 10 + 1);  // the last is the end
  EXPECT_EQ(stream.writes.size(), 10u);
}

TEST(ConnectionTest, PipelinedRequestsAreAnsweredInOneWriteAndInOrder) {
  std::string packet, expected;
  for (int i = 0; i < 16; ++i) {
    packet += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\n\r\n";
    expected += (i == 0 ? "200:/" : " 200:/") + std::to_string(i) + "[]";
  }
  FakeStream stream({packet});
  Converse(stream, Echo);
  EXPECT_EQ(stream.writes.size(), 1u);
  EXPECT_EQ(stream.reads, 2);
  EXPECT_EQ(Summary(stream.All()), expected);
}

TEST(ConnectionTest, ManyPipelinedAnswersDoNotGrowTheBufferWithoutBound) {
  std::string packet;
  for (int i = 0; i < 50; ++i) packet += "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  FakeStream stream({packet});
  const std::string body(4000, 'x');
  Converse(stream, [&](Request&, ResponseWriter& r) { r.Respond(200, "", body); });
  size_t total = 0;
  for (const std::string& write : stream.writes) {
    EXPECT_LE(write.size(), 24u << 10);
    total += write.size();
  }
  EXPECT_GT(total, 200'000u);
}

TEST(ConnectionTest, AnswersBeforeItWaitsForTheRestOfTheNextRequest) {
  FakeStream stream({"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HT", "TP/1.1\r\nHost: h\r\n\r\n"});
  size_t written_at_second_wait = 0;
  Converse(stream, [&](Request& request, ResponseWriter& response) {
    if (request.path() == "/b") written_at_second_wait = stream.writes.size();
    Echo(request, response);
  });
  EXPECT_EQ(written_at_second_wait, 1u);
  EXPECT_EQ(Summary(stream.All()), "200:/a[] 200:/b[]");
}

TEST(ConnectionTest, GarbageIsAnsweredAndTheConnectionCloses) {
  const struct {
    std::string input;
    std::string_view summary;
  } kCases[] = {
      {"\x16\x03\x01\x02", "400!"},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400!"},
      {"GET / HTTP/2.0\r\n\r\n", "505!"},
      {"GET /" + std::string(20000, 'a'), "414!"},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(20000, 'a'), "431!"},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", "413!"},
      {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501!"},
      // A good request before it is answered first, and nothing behind it.
      {"GET /a HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
       "200:/a[] 400!"},
      {"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
       "GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
       "400!"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.input.substr(0, 80));
    FakeStream stream({c.input});
    Converse(stream, Echo);
    EXPECT_EQ(Summary(stream.All()), c.summary);
    EXPECT_TRUE(stream.closed_write) << "the answer would be lost in a reset";
  }
}

TEST(ConnectionTest, AClientThatHangsUpIsNoError) {
  const std::string_view kCases[] = {
      "",
      "G",
      "GET / HTTP/1.1\r\nHost",
  };
  for (const std::string_view input : kCases) {
    SCOPED_TRACE(input);
    FakeStream stream(input.empty() ? std::deque<std::string>{}
                                    : std::deque<std::string>{std::string(input)});
    int calls = 0;
    Converse(stream, [&](Request&, ResponseWriter&) { ++calls; });
    EXPECT_EQ(calls, 0);
    EXPECT_EQ(stream.All(), "");
  }
}

TEST(ConnectionTest, AClientThatHangsUpWithinTheBodyFailsTheHandlersRead) {
  for (const std::string_view head :
       {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n123",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\na\r\n123"}) {
    SCOPED_TRACE(head);
    FakeStream stream({std::string(head)});
    absl::Status seen;
    Converse(stream, [&](Request& request, ResponseWriter&) { seen = request.ReadAll().status(); });
    EXPECT_EQ(seen.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(Summary(stream.All()), "200:!");  // the handler answered all the same
  }
}

TEST(ConnectionTest, ASlowHeadIsAnswered408AndAnIdleConnectionIsClosedInSilence) {
  ConnectionLimits limits;
  limits.head_timeout = absl::Seconds(3);
  limits.idle_timeout = absl::Seconds(60);
  const absl::Status timeout = absl::DeadlineExceededError("read");

  FakeStream slow({"GET / HT"}, timeout);
  Converse(slow, Echo, limits);
  EXPECT_EQ(Summary(slow.All()), "408!");
  EXPECT_EQ(slow.read_timeouts[1], absl::Seconds(3));

  FakeStream idle({"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"}, timeout);
  Converse(idle, Echo, limits);
  EXPECT_EQ(Summary(idle.All()), "200:/a[]");
  EXPECT_EQ(idle.read_timeout, absl::Seconds(60));
  EXPECT_EQ(idle.waits, 2);
}

TEST(ConnectionTest, ASlowBodyFailsTheHandlersRead) {
  ConnectionLimits limits;
  limits.body_timeout = absl::Seconds(7);
  FakeStream stream({"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n123"},
                    absl::DeadlineExceededError("read"));
  absl::Status seen;
  Converse(
      stream, [&](Request& request, ResponseWriter&) { seen = request.ReadAll().status(); },
      limits);
  EXPECT_EQ(seen.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(stream.read_timeouts.back(), absl::Milliseconds(500)) << "lingers";
}

TEST(ConnectionTest, AChunkedBodyOverTheLimitIs413) {
  ConnectionLimits limits;
  limits.parser.max_body_bytes = 10;
  FakeStream stream({"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
                     "b\r\n01234567890\r\n0\r\n\r\n"});
  Converse(stream, Echo, limits);
  EXPECT_EQ(Summary(stream.All()), "413!");
}

TEST(ConnectionTest, AnExceptionIs500AndClosesAndTheProcessGoesOn) {
  const Handler kThrowers[] = {
      [](Request&, ResponseWriter&) { throw std::runtime_error("on purpose"); },
      [](Request&, ResponseWriter& response) {
        response.SetField("X-Secret", "half done");
        response.Write("half").IgnoreError();
        throw 42;
      },
  };
  for (const Handler& handler : kThrowers) {
    FakeStream stream({"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"});
    Converse(stream, handler);
    EXPECT_EQ(Summary(stream.All()), "500!");
    EXPECT_EQ(stream.All().find("half"), std::string::npos);
  }
}

TEST(ConnectionTest, AnExceptionAfterTheHeadLeavesTheBodyUnfinished) {
  FakeStream stream({"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"});
  Converse(stream, [](Request&, ResponseWriter& response) {
    response.Write("part").IgnoreError();
    response.Flush().IgnoreError();
    throw std::runtime_error("on purpose");
  });
  EXPECT_TRUE(stream.All().ends_with("\r\n4\r\npart\r\n")) << stream.All();
}

TEST(ConnectionTest, ContinueIsSentWhenTheHandlerReadsAndNotBefore) {
  const std::string head =
      "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
  FakeStream wanted({head, "abc"});
  Converse(wanted, Echo);
  EXPECT_EQ(Summary(wanted.All()), "100 200:/[abc]");
  EXPECT_EQ(wanted.writes.size(), 2u);

  FakeStream unwanted({head, "abc"});
  Converse(unwanted, [](Request&, ResponseWriter& r) { r.Respond(403, "", ""); });
  EXPECT_EQ(Summary(unwanted.All()), "403!") << "whether the body follows cannot be known";
}

TEST(ConnectionTest, ABodyTheHandlerLeavesIsSkippedIfShortAndClosedOverIfLong) {
  const Handler ignore = [](Request& request, ResponseWriter& r) {
    r.Respond(200, "", request.path());
  };
  for (const size_t piece : {1000, 100000}) {
    FakeStream small({"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n",
                      std::string(5000, 'x').substr(0, piece),
                      std::string(5000, 'x').substr(0, 5000 - std::min<size_t>(piece, 5000)) +
                          "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"});
    Converse(small, ignore);
    EXPECT_EQ(Summary(small.All()), "200:/a 200:/b");
  }
  FakeStream large({"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n",
                    std::string(100000, 'x'), "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"});
  Converse(large, ignore);
  EXPECT_EQ(Summary(large.All()), "200:/a!");
  EXPECT_TRUE(large.closed_write);
}

TEST(ConnectionTest, ABodyInWaitIsAnsweredBeforeItIsSkipped) {
  FakeStream stream({"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n", "abc"});
  size_t writes_at_body = 99;
  Converse(stream, [&](Request&, ResponseWriter& r) {
    writes_at_body = stream.writes.size();
    r.Respond(200, "", "early");
  });
  EXPECT_EQ(writes_at_body, 0u);
  EXPECT_EQ(stream.writes.size(), 1u);
  EXPECT_EQ(Summary(stream.All()), "200:early");
}

TEST(ConnectionTest, ViewsOfTheHeadLiveAsLongAsTheHandler) {
  // A chunked body larger than the buffer is read while the views are in use.
  std::string body;
  for (int i = 0; i < 40; ++i) body += "400\r\n" + std::string(0x400, 'x') + "\r\n";
  body += "0\r\n\r\n";
  const std::string head =
      "POST /path HTTP/1.1\r\nHost: h\r\nX-Kept: kept\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const size_t first : {size_t{0}, size_t{10}, size_t{3000}, size_t{5000}}) {
    SCOPED_TRACE(first);
    FakeStream stream({head + body.substr(0, first), body.substr(first)});
    Converse(stream, [&](Request& request, ResponseWriter& r) {
      const std::string_view kept = *request.fields().Find("X-Kept");
      absl::StatusOr<std::string> all = request.ReadAll();
      ASSERT_TRUE(all.ok()) << all.status();
      EXPECT_EQ(all->size(), 40u * 0x400);
      EXPECT_EQ(kept, "kept");
      EXPECT_EQ(request.path(), "/path");
      r.Respond(200, "", "");
    });
    EXPECT_EQ(Summary(stream.All()), "200:");
  }
}

TEST(ConnectionTest, AServerThatDrainsAnswersWhatWasBegunAndSaysClose) {
  std::atomic<ServerStage> stage{ServerStage::kServing};
  ConnectionState state(stage);
  FakeStream stream({"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"});
  ServeConnection(stream, state,
                  [&](Request& request, ResponseWriter& response) {
                    stage = ServerStage::kDraining;
                    EXPECT_FALSE(state.InterruptIdle()) << "a request is being answered";
                    Echo(request, response);
                  },
                  {});
  EXPECT_EQ(Summary(stream.All()), "200:/a[]!");
  EXPECT_EQ(stream.waits, 1) << "no second wait";
}

TEST(ConnectionTest, ANewConnectionIsGivenItsTimeForAFirstRequestThoughTheServerDrains) {
  ConnectionLimits limits;
  limits.first_request = absl::Milliseconds(7);
  const std::atomic<ServerStage> stage{ServerStage::kDraining};
  ConnectionState asks_state(stage), silent_state(stage);
  FakeStream asks({"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"});
  asks.on_wait = [&] { EXPECT_EQ(asks.read_timeout, absl::Milliseconds(7)); };
  ServeConnection(asks, asks_state, Echo, limits);
  EXPECT_EQ(Summary(asks.All()), "200:/a[]!");
  FakeStream silent({}, absl::DeadlineExceededError(""));
  ServeConnection(silent, silent_state, Echo, limits);
  EXPECT_EQ(silent.All(), "");
  EXPECT_EQ(silent.waits, 1) << "not once more, for the idle time";
}

TEST(ConnectionTest, AServerThatPartsAnswersOnceMoreAndSaysClose) {
  std::atomic<ServerStage> stage{ServerStage::kServing};
  ConnectionState state(stage);
  FakeStream stream({"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
                     "GET /c HTTP/1.1\r\nHost: h\r\n\r\n"});
  stream.on_wait = [&] {
    if (stream.waits == 2) stage = ServerStage::kParting;
  };
  ServeConnection(stream, state, Echo, {});
  EXPECT_EQ(Summary(stream.All()), "200:/a[] 200:/b[]!");
}

TEST(ConnectionTest, AServerThatDrainsClosesAnIdleConnection) {
  std::atomic<ServerStage> stage{ServerStage::kServing};
  ConnectionState state(stage);
  FakeStream stream({"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"}, absl::DeadlineExceededError(""));
  stream.on_wait = [&] {
    if (stream.waits == 2) {
      stage = ServerStage::kDraining;
      EXPECT_TRUE(state.InterruptIdle());
      EXPECT_FALSE(state.InterruptIdle()) << "once";
    }
  };
  ServeConnection(stream, state, Echo, {});
  EXPECT_EQ(Summary(stream.All()), "200:/a[]");
  EXPECT_EQ(stream.waits, 2);
}

TEST(ConnectionTest, AServerThatDrainsClosesAnIdleConnectionThatWasWokenForNothing) {
  std::atomic<ServerStage> stage{ServerStage::kServing};
  ConnectionState state(stage);
  // The second wait says "readable", and the read after it finds nothing.
  FakeStream stream({"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"}, absl::DeadlineExceededError(""));
  stream.wait_succeeds = true;
  stream.on_read = [&] {
    if (stream.waits == 2) {
      stage = ServerStage::kDraining;
      EXPECT_TRUE(state.InterruptIdle()) << "it waits for a request all the same";
    }
  };
  ServeConnection(stream, state, Echo, {});
  EXPECT_EQ(Summary(stream.All()), "200:/a[]");
}

TEST(ConnectionTest, ARequestThatCameWithTheInterruptionIsAnsweredAndIsTheLast) {
  std::atomic<ServerStage> stage{ServerStage::kServing};
  ConnectionState state(stage);
  FakeStream stream({"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"});
  stream.on_read = [&] {
    if (stream.waits == 2) {
      stage = ServerStage::kDraining;
      EXPECT_TRUE(state.InterruptIdle());
      stream.on_read = nullptr;
    }
  };
  ServeConnection(stream, state, Echo, {});
  EXPECT_EQ(Summary(stream.All()), "200:/a[] 200:/b[]!");
}

TEST(ConnectionTest, AClientThatDoesNotReadEndsTheConnection) {
  FakeStream stream({"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"});
  stream.fail_writes = true;
  int calls = 0;
  Converse(stream, [&](Request&, ResponseWriter& r) {
    ++calls;
    r.Respond(200, "", "x");
  });
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(stream.closed_write) << "nobody is there to linger for";
}

}  // namespace
}  // namespace plimsoll::http
