#include "plimsoll/runtime/http/router.h"

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/http/request.h"
#include "plimsoll/runtime/http/response_writer.h"

namespace plimsoll::http {
namespace {

class NoBody : public BodySource {
 public:
  absl::StatusOr<size_t> ReadBody(std::span<char>) override { return size_t{0}; }
};

class StringSink : public ResponseSink {
 public:
  std::string& buffer() override { return text; }
  absl::Status Flush() override { return absl::OkStatus(); }
  std::string text;
};

std::string Answer(const Router& router, std::string_view method, std::string_view path) {
  RequestHead head;
  head.method = method;
  head.path = path;
  NoBody body;
  StringSink sink;
  Request request(head, body);
  ResponseWriter response(sink, head, "now");
  router.Serve(request, response);
  response.Finish().IgnoreError();
  return sink.text;
}

Handler Says(std::string text) {
  return [text](Request&, ResponseWriter& response) { response.Respond(200, "", text); };
}

TEST(RouterTest, TheLongestPatternThatMatchesAnswers) {
  Router router;
  router.Handle("/", Says("root"));
  router.Handle("GET /limits", Says("limits"));
  router.Handle("/static/", Says("static"));
  router.Handle("/static/css/", Says("css"));
  router.Handle("/static/one", Says("one"));
  router.Handle("POST /static/one", Says("post one"));
  const struct {
    std::string_view method, path, body;
  } kCases[] = {
      {"GET", "/", "root"},
      {"GET", "/nothing/here", "root"},
      {"GET", "/limits", "limits"},
      {"POST", "/limits", "root"},  // the pattern above has no method
      {"GET", "/limits/more", "root"},
      {"GET", "/static", "root"},
      {"GET", "/static/", "static"},
      {"GET", "/static/x", "static"},
      {"GET", "/static/x/y/z", "static"},
      {"GET", "/static/css/", "css"},
      {"GET", "/static/css/a/b", "css"},
      {"GET", "/static/one", "one"},
      {"POST", "/static/one", "post one"},
      {"GET", "/static/one/two", "static"},
      {"GET", "//", "root"},
      {"BREW", "/", "root"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.method << " " << c.path);
    const std::string answer = Answer(router, c.method, c.path);
    EXPECT_TRUE(answer.ends_with("\r\n\r\n" + std::string(c.body))) << answer;
  }
}

TEST(RouterTest, TellsAMissByItsKind) {
  Router router;
  router.Handle("GET /a", Says("a"));
  router.Handle("POST /a", Says("a"));
  router.Handle("PUT /b/", Says("b"));
  const struct {
    std::string_view method, path, status, has;
  } kCases[] = {
      {"GET", "/c", "404", ""},
      {"GET", "/", "404", ""},
      {"OPTIONS", "*", "404", ""},
      {"CONNECT", "", "404", ""},
      {"DELETE", "/a", "405", "Allow: GET, HEAD, POST\r\n"},
      {"GET", "/b/x", "405", "Allow: PUT\r\n"},
      {"BREW", "/a", "501", ""},
      {"get", "/a", "501", ""},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.method << " " << c.path);
    const std::string answer = Answer(router, c.method, c.path);
    EXPECT_EQ(answer.substr(9, 3), c.status);
    EXPECT_NE(answer.find(c.has), std::string::npos) << answer;
  }
}

TEST(RouterTest, GetAnswersHeadWithoutTheBody) {
  Router router;
  router.Handle("GET /a", Says("12345"));
  const std::string answer = Answer(router, "HEAD", "/a");
  EXPECT_EQ(answer.substr(9, 3), "200");
  EXPECT_TRUE(answer.ends_with("Content-Length: 5\r\n\r\n")) << answer;
}

TEST(RouterDeathTest, APatternThatIsWrongOrGivenTwiceIsToldAtStart) {
  Router router;
  router.Handle("GET /a", Says("a"));
  EXPECT_DEATH(router.Handle("GET /a", Says("b")), "\"GET /a\" was given twice");
  EXPECT_DEATH(router.Handle("a", Says("b")), "invalid pattern \"a\"");
  EXPECT_DEATH(router.Handle("GET  /a", Says("b")), "invalid pattern");
  EXPECT_DEATH(router.Handle(" /a", Says("b")), "invalid method");
}

}  // namespace
}  // namespace plimsoll::http
