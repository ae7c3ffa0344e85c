#include "plimsoll/runtime/service/health_routes.h"

#include <string_view>

#include "plimsoll/container/health/health_report.h"
#include "plimsoll/runtime/http/request.h"
#include "plimsoll/runtime/http/response_writer.h"

namespace plimsoll {

void AddHealthRoutes(container::Health& health, http::Router& router) {
  constexpr struct {
    std::string_view pattern;
    container::Aspect aspect;
  } kRoutes[] = {
      {"GET /startupz", container::Aspect::kStartup},
      {"GET /livez", container::Aspect::kLive},
      {"GET /readyz", container::Aspect::kReady},
  };
  for (const auto& route : kRoutes) {
    router.Handle(route.pattern, [&health, aspect = route.aspect](http::Request& request,
                                                                  http::ResponseWriter& response) {
      const container::HealthReport report = health.Check(aspect);
      const std::string_view query = request.query();
      if (query == "json") {
        response.Respond(report.HttpStatus(), "application/json", report.Json());
      } else {
        response.Respond(report.HttpStatus(), "text/plain; charset=utf-8",
                         report.Text(/*verbose=*/query == "verbose"));
      }
      // A cached answer would be an old one.
      response.SetField("Cache-Control", "no-store");
    });
  }
}

}  // namespace plimsoll
