#include "plimsoll/runtime/service/memory_route.h"

#include <optional>
#include <string_view>

#include "plimsoll/runtime/http/request.h"
#include "plimsoll/runtime/http/response_writer.h"
#include "plimsoll/runtime/memory_report.h"

namespace plimsoll {
namespace {

bool WantsJson(const http::Request& request) {
  if (request.query() == "json") return true;
  const std::optional<std::string_view> accept = request.fields().Find("Accept");
  return accept.has_value() && accept->starts_with("application/json");
}

}  // namespace

void AddMemoryRoute(http::Router& router) {
  router.Handle("GET /debug/plimsoll/memory",
                [](http::Request& request, http::ResponseWriter& response) {
                  const MemoryReport report = TakeMemoryReport();
                  if (WantsJson(request)) {
                    response.Respond(200, "application/json", report.Json());
                  } else {
                    response.Respond(200, "text/plain; charset=utf-8", report.Text());
                  }
                  response.SetField("Cache-Control", "no-store");
                });
}

}  // namespace plimsoll
