#include "plimsoll/runtime/http/response_writer.h"

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace plimsoll::http {
namespace {

constexpr std::string_view kDate = "Sun, 06 Nov 1994 08:49:37 GMT";

class FakeSink : public ResponseSink {
 public:
  std::string& buffer() override { return buffer_; }
  absl::Status Flush() override {
    if (!fail.ok()) return fail;
    sent += buffer_;
    buffer_.clear();
    ++flushes;
    return absl::OkStatus();
  }
  std::string All() const { return sent + buffer_; }

  std::string sent;
  int flushes = 0;
  absl::Status fail;

 private:
  std::string buffer_;
};

RequestHead Get(std::string_view method = "GET", int minor = 1, bool keep_alive = true) {
  RequestHead head;
  head.method = method;
  head.minor_version = minor;
  head.keep_alive = keep_alive;
  return head;
}

TEST(ResponseWriterTest, AShortBodyIsCountedAndNothingIsFlushed) {
  FakeSink sink;
  const RequestHead request = Get();
  ResponseWriter w(sink, request, kDate);
  w.SetField("Content-Type", "text/plain");
  ASSERT_TRUE(w.Write("Hello, ").ok());
  ASSERT_TRUE(w.Write("World!").ok());
  ASSERT_TRUE(w.Finish().ok());
  EXPECT_EQ(sink.flushes, 0);
  EXPECT_TRUE(w.keep_alive());
  EXPECT_EQ(sink.All(),
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!");
}

TEST(ResponseWriterTest, FramesTheBodyByStatusMethodAndVersion) {
  const struct {
    const char* what;
    RequestHead request;
    int status;
    size_t body;
    bool flush;
    std::string_view has, has_not, tail;
    bool keep_alive;
  } kCases[] = {
      {"HEAD tells the length and sends nothing", Get("HEAD"), 200, 5, false,
       "Content-Length: 5\r\n", "Transfer", "\r\n\r\n", true},
      {"204 has no length", Get(), 204, 0, false, "204 No Content", "Content-Length", "\r\n\r\n",
       true},
      {"204 drops a body", Get(), 204, 5, false, "204", "xxxxx", "\r\n\r\n", true},
      {"304 drops a body", Get(), 304, 5, false, "304 Not Modified", "Content-Length", "\r\n\r\n",
       true},
      {"a long body goes in chunks", Get(), 200, 9000, false, "Transfer-Encoding: chunked\r\n",
       "Content-Length", "\r\n0\r\n\r\n", true},
      {"a flushed body goes in chunks", Get(), 200, 5, true, "\r\n5\r\nxxxxx\r\n", "Content-Length",
       "\r\n0\r\n\r\n", true},
      {"a long body to HTTP/1.0 ends with the connection", Get("GET", 0), 200, 9000, false,
       "Connection: close\r\n", "Transfer", "xxxx", false},
      {"a short body to HTTP/1.0 keeps it", Get("GET", 0), 200, 5, false,
       "Connection: keep-alive\r\n", "Transfer", "xxxxx", true},
      {"a client that closes is told so", Get("GET", 1, false), 200, 5, false,
       "Connection: close\r\n", "keep-alive", "xxxxx", false},
      {"a long HEAD tells chunked and sends nothing", Get("HEAD"), 200, 9000, false,
       "Transfer-Encoding: chunked\r\n", "xxx", "\r\n\r\n", true},
      {"an unknown status has an empty phrase", Get(), 299, 5, false, "HTTP/1.1 299 \r\n", "OK",
       "xxxxx", true},
      {"a status out of range is 500", Get(), 99, 5, false, "HTTP/1.1 500 ", "1.1 99", "xxxxx",
       true},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    FakeSink sink;
    ResponseWriter w(sink, c.request, kDate);
    w.SetStatus(c.status);
    ASSERT_TRUE(w.Write(std::string(c.body, 'x')).ok());
    if (c.flush) {
      ASSERT_TRUE(w.Flush().ok());
      EXPECT_EQ(sink.flushes, 1);
    }
    ASSERT_TRUE(w.Finish().ok());
    const std::string all = sink.All();
    EXPECT_NE(all.find(c.has), std::string::npos) << all.substr(0, 300);
    EXPECT_EQ(all.find(c.has_not), std::string::npos) << all.substr(0, 300);
    EXPECT_TRUE(all.ends_with(c.tail)) << all.substr(all.size() < 50 ? 0 : all.size() - 50);
    EXPECT_EQ(w.keep_alive(), c.keep_alive);
    EXPECT_FALSE(w.broken());
  }
}

TEST(ResponseWriterTest, AFieldThatWouldSplitTheResponseMakesItA500) {
  const struct {
    std::string_view name, value;
  } kCases[] = {
      {"Location", "/a\r\nSet-Cookie: stolen"},
      {"Location", "/a\nX: y"},
      {"Location", std::string_view("/a\0", 3)},
      {"Bad Name", "x"},
      {"Bad:Name", "x"},
      {"", "x"},
      {"X\r\nY", "x"},
      {"Content-Length", "five"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c.value));
    FakeSink sink;
    const RequestHead request = Get();
    ResponseWriter w(sink, request, kDate);
    w.SetField("X-Other", "kept back too");
    w.AddField(c.name, c.value);
    ASSERT_TRUE(w.Write("secret").ok());
    w.Finish().IgnoreError();
    EXPECT_EQ(sink.All(),
              "HTTP/1.1 500 Internal Server Error\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
              "Content-Length: 0\r\n\r\n");
  }
}

TEST(ResponseWriterTest, OurOwnFieldsCannotBeSetTwice) {
  FakeSink sink;
  const RequestHead request = Get();
  ResponseWriter w(sink, request, kDate);
  w.AddField("date", "never");
  w.AddField("Transfer-Encoding", "chunked");
  w.AddField("Connection", "keep-alive, Close");
  w.AddField("content-length", "2");
  ASSERT_TRUE(w.Write("ab").ok());
  ASSERT_TRUE(w.Finish().ok());
  EXPECT_EQ(sink.All(),
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n"
            "Connection: close\r\n\r\nab");
  EXPECT_FALSE(w.keep_alive());
}

TEST(ResponseWriterTest, SetFieldReplacesAndAddFieldAdds) {
  FakeSink sink;
  const RequestHead request = Get();
  ResponseWriter w(sink, request, kDate);
  w.AddField("X-A", "1");
  w.AddField("X-AB", "2");
  w.AddField("x-a", "3");
  w.SetField("X-A", "4");
  w.AddField("Set-Cookie", "a");
  w.AddField("Set-Cookie", "b");
  ASSERT_TRUE(w.Finish().ok());
  EXPECT_NE(sink.All().find("\r\nX-AB: 2\r\nX-A: 4\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"),
            std::string::npos)
      << sink.All();
  EXPECT_EQ(sink.All().find("x-a: 3"), std::string::npos);
}

TEST(ResponseWriterTest, ADeclaredLengthIsHeld) {
  const struct {
    const char* what;
    size_t declared, written;
    bool flush_first, broken, is_500;
  } kCases[] = {
      {"met", 5, 5, false, false, false},
      {"met after a flush", 5, 5, true, false, false},
      {"too little, not sent yet", 5, 3, false, false, true},
      {"too little, head sent", 5, 3, true, true, false},
      {"too much, not sent yet", 5, 6, false, false, true},
      {"too much, head sent", 5, 6, true, true, false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    FakeSink sink;
    const RequestHead request = Get();
    ResponseWriter w(sink, request, kDate);
    w.SetField("Content-Length", std::to_string(c.declared));
    if (c.flush_first) {
      ASSERT_TRUE(w.Flush().ok());
    }
    w.Write(std::string(c.written, 'x')).IgnoreError();
    w.Finish().IgnoreError();
    EXPECT_EQ(w.broken(), c.broken);
    EXPECT_EQ(sink.All().substr(9, 3) == "500", c.is_500) << sink.All();
    EXPECT_EQ(w.keep_alive(), !c.broken && !c.is_500);
  }
}

TEST(ResponseWriterTest, AClientThatIsGoneIsToldToTheHandlerAndBreaksTheConnection) {
  FakeSink sink;
  const RequestHead request = Get();
  ResponseWriter w(sink, request, kDate);
  sink.fail = absl::UnavailableError("EPIPE");
  EXPECT_TRUE(w.Write(std::string(100, 'x')).ok());  // only buffered
  EXPECT_EQ(w.Flush().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(w.Write("more").code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(w.broken());
  EXPECT_FALSE(w.keep_alive());
}

TEST(ResponseWriterTest, RespondForgetsWhatWasSetBefore) {
  FakeSink sink;
  const RequestHead request = Get();
  ResponseWriter w(sink, request, kDate);
  w.SetField("X-Half", "done");
  ASSERT_TRUE(w.Write("half a body").ok());
  w.Respond(503, "text/plain", "later\n");
  ASSERT_TRUE(w.Finish().ok());
  EXPECT_EQ(sink.All(),
            "HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "Content-Type: text/plain\r\nContent-Length: 6\r\n\r\nlater\n");
}

}  // namespace
}  // namespace plimsoll::http
