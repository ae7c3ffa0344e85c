#include "plimsoll/runtime/service/memory_route.h"

#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/http/request.h"
#include "plimsoll/runtime/http/response_writer.h"

namespace plimsoll {
namespace {

class NoBody : public http::BodySource {
 public:
  absl::StatusOr<size_t> ReadBody(std::span<char>) override { return size_t{0}; }
};

class StringSink : public http::ResponseSink {
 public:
  std::string& buffer() override { return text; }
  absl::Status Flush() override { return absl::OkStatus(); }
  std::string text;
};

std::string Answer(std::string_view query, std::string_view accept) {
  http::Router router;
  AddMemoryRoute(router);
  http::RequestHead head;
  head.method = "GET";
  head.path = "/debug/plimsoll/memory";
  head.query = query;
  if (!accept.empty()) head.fields.Add("Accept", accept);
  NoBody body;
  StringSink sink;
  http::Request request(head, body);
  http::ResponseWriter response(sink, head, "now");
  router.Serve(request, response);
  response.Finish().IgnoreError();
  return sink.text;
}

bool Has(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

TEST(MemoryRouteTest, AnswersAsTextOrAsJson) {
  const std::string text = Answer("", "text/html, application/json");
  EXPECT_TRUE(Has(text, "200 OK\r\n")) << text;
  EXPECT_TRUE(Has(text, "text/plain")) << text;
  EXPECT_TRUE(Has(text, "\r\n\r\nRSS: ")) << text;
  EXPECT_TRUE(Has(text, "no-store")) << text;
  for (const std::string& json : {Answer("json", ""), Answer("", "application/json")}) {
    EXPECT_TRUE(Has(json, "application/json")) << json;
    EXPECT_TRUE(Has(json, "\r\n\r\n{") && Has(json, "\"rss_bytes\": ")) << json;
    EXPECT_TRUE(json.ends_with("}\n")) << json;
  }
}

}  // namespace
}  // namespace plimsoll
