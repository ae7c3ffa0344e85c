#include "plimsoll/runtime/http/request_parser.h"

#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace plimsoll::http {
namespace {

RequestParser::Result ParseAll(std::string_view input, RequestHead& head,
                               const ParserLimits& limits = {}) {
  RequestParser parser(limits);
  return parser.Parse(input, head);
}

std::string Request(std::string_view fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

TEST(RequestParserTest, ReadsMethodTargetVersionAndFields) {
  RequestHead head;
  const std::string_view input =
      "POST /a/b?x=1&y=%20 HTTP/1.1\r\nHost: example.org:8080\r\nX-One:  two words \t\r\n"
      "X-Empty:\r\nContent-Length: 5\r\n\r\nhello";
  const auto r = ParseAll(input, head);
  ASSERT_EQ(r.state, RequestParser::kDone) << r.reason;
  EXPECT_EQ(input.substr(r.head_bytes), "hello");
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/a/b?x=1&y=%20");
  EXPECT_EQ(head.path, "/a/b");
  EXPECT_EQ(head.query, "x=1&y=%20");
  EXPECT_EQ(head.host, "example.org:8080");
  EXPECT_EQ(head.minor_version, 1);
  EXPECT_EQ(head.fields.size(), 4u);
  EXPECT_EQ(head.fields.Find("x-ONE"), "two words");
  EXPECT_EQ(head.fields.Find("X-Empty"), "");
  EXPECT_EQ(head.fields.Find("X-None"), std::nullopt);
  EXPECT_EQ(head.framing, BodyFraming::kLength);
  EXPECT_EQ(head.content_length, 5u);
  EXPECT_TRUE(head.keep_alive);
}

TEST(RequestParserTest, ViewsPointIntoTheInput) {
  const std::string input = Request("X-A: b\r\n");
  RequestHead head;
  ASSERT_EQ(ParseAll(input, head).state, RequestParser::kDone);
  const std::string_view value = *head.fields.Find("X-A");
  EXPECT_GE(value.data(), input.data());
  EXPECT_LE(value.data() + value.size(), input.data() + input.size());
}

TEST(RequestParserTest, AnyCutOfTheInputGivesTheSameRequest) {
  const std::string input =
      "\r\nPUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nA: 1\r\n\r\n0\r\n\r\n";
  for (size_t cut = 0; cut < input.size(); ++cut) {
    SCOPED_TRACE(cut);
    RequestParser parser{ParserLimits{}};
    RequestHead head;
    // Each part in memory of its own, so that a view kept from the first call would dangle.
    auto part = std::make_unique<std::string>(input.substr(0, cut));
    auto r = parser.Parse(*part, head);
    part = std::make_unique<std::string>(input);
    if (r.state == RequestParser::kNeedMore) r = parser.Parse(*part, head);
    ASSERT_EQ(r.state, RequestParser::kDone) << r.reason;
    EXPECT_EQ(r.head_bytes, cut >= input.size() - 5 ? input.size() - 5 : r.head_bytes);
    EXPECT_EQ(head.framing, BodyFraming::kChunked);
    EXPECT_EQ(head.fields.size(), 3u);
  }
}

TEST(RequestParserTest, AByteAtATimeGivesTheSameRequest) {
  const std::string input = "GET /p?q HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
  RequestParser parser{ParserLimits{}};
  RequestHead head;
  for (size_t n = 0; n < input.size(); ++n) {
    ASSERT_EQ(parser.Parse(std::string_view(input).substr(0, n), head).state,
              RequestParser::kNeedMore)
        << n;
  }
  ASSERT_EQ(parser.Parse(input, head).state, RequestParser::kDone);
  EXPECT_EQ(head.minor_version, 0);
  EXPECT_TRUE(head.keep_alive);
}

TEST(RequestParserTest, EachCallAfterResetReadsTheNextPipelinedRequest) {
  std::string_view input =
      "GET /1 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n";
  RequestParser parser{ParserLimits{}};
  RequestHead head;
  auto r = parser.Parse(input, head);
  ASSERT_EQ(r.state, RequestParser::kDone);
  EXPECT_EQ(head.path, "/1");
  input.remove_prefix(r.head_bytes);
  parser.Reset();
  r = parser.Parse(input, head);
  ASSERT_EQ(r.state, RequestParser::kDone);
  EXPECT_EQ(head.path, "/2");
  EXPECT_EQ(head.host, "b");
  EXPECT_EQ(head.fields.size(), 1u);
  EXPECT_EQ(r.head_bytes, input.size());
}

TEST(RequestParserTest, RefusesWhatIsMalformedOrCouldBeReadInTwoWays) {
  const struct {
    std::string input;
    int status;
  } kCases[] = {
      // The request line.
      {"GET\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
      {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
      {"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/11\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.11\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
      {"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      // Noise is told at once, without a line's end.
      {std::string("\x16\x03\x01\x02\x00", 5), 400},
      {std::string("\0", 1), 400},
      {"{\"a\":1}", 400},
      {std::string(33, 'A'), 400},
      {std::string(33, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      // Lines.
      {Request("X: a\rb\r\n"), 400},
      {Request("X: a\n"), 400},
      {Request("X: a\r\r\n"), 400},
      {Request("\n"), 400},
      {Request("X: a\r\n folded\r\n"), 400},
      {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
      {Request("X : a\r\n"), 400},
      {Request("X\t: a\r\n"), 400},
      {Request(": a\r\n"), 400},
      {Request("no colon\r\n"), 400},
      {Request(std::string("X: a\0b\r\n", 8)), 400},
      {Request("X: \x7f\r\n"), 400},
      // Host.
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      // Request smuggling.
      {Request("Content-Length: 1\r\nContent-Length: 1\r\n"), 400},
      {Request("Content-Length: 1\r\nContent-Length: 2\r\n"), 400},
      {Request("Content-Length: 1, 1\r\n"), 400},
      {Request("Content-Length: +1\r\n"), 400},
      {Request("Content-Length: -1\r\n"), 400},
      {Request("Content-Length: 0x1\r\n"), 400},
      {Request("Content-Length: 1 2\r\n"), 400},
      {Request("Content-Length:\r\n"), 400},
      {Request("Content-Length: 18446744073709551616\r\n"), 400},
      {Request("Content-Length: 99999999999999999999999\r\n"), 400},
      {Request("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400},
      {Request("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), 400},
      {Request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {Request("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400},
      {Request("Transfer-Encoding: chunked, chunked\r\n"), 400},
      {Request("Transfer-Encoding: chunked, gzip\r\n"), 400},
      {Request("Transfer-Encoding:\r\n"), 400},
      {Request("Transfer-Encoding: ,\r\n"), 400},
      {Request("Transfer-Encoding: xchunked\r\n"), 501},
      {Request("Transfer-Encoding: \"chunked\"\r\n"), 501},
      {Request("Transfer-Encoding: identity\r\n"), 501},
      {Request("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {Request("Expect: a-miracle\r\n"), 417},
      // Size.
      {Request("Content-Length: 4194305\r\n"), 413},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c.input));
    RequestHead head;
    const auto r = ParseAll(c.input, head);
    ASSERT_EQ(r.state, RequestParser::kBad);
    EXPECT_EQ(r.status, c.status) << r.reason;
    EXPECT_NE(std::string_view(r.reason), "");
  }
}

TEST(RequestParserTest, RefusesAVerticalTabWrittenBeforeChunked) {
  // "\vchunked" was read as chunked by one server and not by the next.
  RequestHead head;
  EXPECT_EQ(ParseAll(Request("Transfer-Encoding: \vchunked\r\n"), head).status, 400);
}

TEST(RequestParserTest, AcceptsWhatTheGrammarAllows) {
  const struct {
    std::string input;
    std::string_view path, host;
    bool keep_alive;
    BodyFraming framing;
  } kCases[] = {
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", "a", true, BodyFraming::kNone},
      {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "/", "", true, BodyFraming::kNone},
      {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "/", "[::1]:80", true, BodyFraming::kNone},
      {"GET / HTTP/1.7\r\nHost: a\r\n\r\n", "/", "a", true, BodyFraming::kNone},
      {"GET / HTTP/1.0\r\n\r\n", "/", "", false, BodyFraming::kNone},
      {"\r\n\r\nGET / HTTP/1.0\r\n\r\n", "/", "", false, BodyFraming::kNone},
      {"GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n", "/c", "b", true, BodyFraming::kNone},
      {"GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n", "/", "b", true, BodyFraming::kNone},
      {"GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n", "/", "b", true, BodyFraming::kNone},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", "a", true, BodyFraming::kNone},
      {"CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n", "", "b:1", true, BodyFraming::kNone},
      {Request("Connection: close\r\n"), "/", "a", false, BodyFraming::kNone},
      {Request("Connection: Upgrade, CLOSE\r\n"), "/", "a", false, BodyFraming::kNone},
      {Request("Connection: closed\r\n"), "/", "a", true, BodyFraming::kNone},
      {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "/", "", false,
       BodyFraming::kNone},
      {Request("Transfer-Encoding: CHUNKED\r\n"), "/", "a", true, BodyFraming::kChunked},
      {Request("Transfer-Encoding: , chunked ,\r\n"), "/", "a", true, BodyFraming::kChunked},
      {Request("Content-Length: 0\r\n"), "/", "a", true, BodyFraming::kNone},
      {Request("Content-Length: 0007\r\n"), "/", "a", true, BodyFraming::kLength},
      {Request("X: \xff\xfe tab\there\r\n"), "/", "a", true, BodyFraming::kNone},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c.input));
    RequestHead head;
    const auto r = ParseAll(c.input, head);
    ASSERT_EQ(r.state, RequestParser::kDone) << r.reason;
    EXPECT_EQ(r.head_bytes, c.input.size());
    EXPECT_EQ(head.path, c.path);
    EXPECT_EQ(head.host, c.host);
    EXPECT_EQ(head.keep_alive, c.keep_alive);
    EXPECT_EQ(head.framing, c.framing);
  }
}

TEST(RequestParserTest, HeedsItsLimits) {
  ParserLimits limits;
  limits.max_head_bytes = 200;
  limits.max_target_bytes = 50;
  limits.max_fields = 3;
  limits.max_body_bytes = 10;
  const struct {
    const char* what;
    std::string input;
    int status;
  } kCases[] = {
      {"a first line without an end", "GET /" + std::string(200, 'a'), 414},
      {"a long target", "GET /" + std::string(50, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
      {"a field without an end", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(200, 'a'), 431},
      {"a head of one byte too many",
       "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(200 - 32 + 1, 'a') + "\r\n\r\n", 431},
      {"four fields", "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", 431},
      {"a long body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    RequestHead head;
    const auto r = ParseAll(c.input, head, limits);
    ASSERT_EQ(r.state, RequestParser::kBad);
    EXPECT_EQ(r.status, c.status) << r.reason;
  }
  RequestHead head;
  const std::string just =
      "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(200 - 32, 'a') + "\r\n\r\n";
  ASSERT_EQ(just.size(), limits.max_head_bytes);
  EXPECT_EQ(ParseAll(just, head, limits).state, RequestParser::kDone);
}

TEST(RequestParserTest, ExpectIsForgottenWhereThereIsNoBodyOrNoHttp11) {
  const struct {
    std::string_view input;
    bool expect;
  } kCases[] = {
      {"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n", true},
      {"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", false},
      {"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.input);
    RequestHead head;
    ASSERT_EQ(ParseAll(c.input, head).state, RequestParser::kDone);
    EXPECT_EQ(head.expect_continue, c.expect);
  }
}

}  // namespace
}  // namespace plimsoll::http
