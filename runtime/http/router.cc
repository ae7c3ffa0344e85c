#include "plimsoll/runtime/http/router.h"

#include <memory>
#include <utility>

#include "plimsoll/alloc/base/check.h"

namespace plimsoll::http {
namespace {

bool IsKnownMethod(std::string_view method) {
  constexpr std::string_view kKnown[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                         "CONNECT", "OPTIONS", "TRACE", "PATCH"};
  for (const std::string_view known : kKnown) {
    if (method == known) return true;
  }
  return false;
}

}  // namespace

void Router::Handle(std::string_view pattern, Handler handler) {
  const size_t space = pattern.find(' ');
  const std::string_view method =
      space == std::string_view::npos ? std::string_view() : pattern.substr(0, space);
  const std::string_view path =
      space == std::string_view::npos ? pattern : pattern.substr(space + 1);
  PLIMSOLL_CHECK(!path.empty() && path.front() == '/', "http: invalid pattern \"", pattern, "\"");
  PLIMSOLL_CHECK(method.empty() ? space == std::string_view::npos : IsToken(method),
                 "http: invalid method in pattern \"", pattern, "\"");
  const bool added =
      paths_[std::string(path)].emplace(std::string(method), std::move(handler)).second;
  PLIMSOLL_CHECK(added, "http: the pattern \"", pattern, "\" was given twice");
}

void Router::Serve(Request& request, ResponseWriter& response) const {
  std::string allow;
  std::string_view path = request.path();
  // The whole path first, then each folder above it, the longest first.
  while (!path.empty()) {
    const auto found = paths_.find(path);
    if (found != paths_.end()) {
      const Methods& methods = found->second;
      auto handler = methods.find(request.method());
      if (handler == methods.end() && request.method() == "HEAD") handler = methods.find("GET");
      if (handler == methods.end()) handler = methods.find("");
      if (handler != methods.end()) return handler->second(request, response);
      for (const auto& [method, unused] : methods) {
        if (!allow.empty()) allow += ", ";
        allow += method == "GET" ? "GET, HEAD" : method;
      }
    }
    if (path.back() == '/') path.remove_suffix(1);  // the folder that was looked up
    const size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) break;
    path = path.substr(0, slash + 1);
  }
  if (!IsKnownMethod(request.method())) {
    response.Respond(501, "text/plain; charset=utf-8", "501 Not Implemented\n");
  } else if (!allow.empty()) {
    response.Respond(405, "text/plain; charset=utf-8", "405 Method Not Allowed\n");
    response.AddField("Allow", allow);
  } else {
    response.Respond(404, "text/plain; charset=utf-8", "404 Not Found\n");
  }
}

Handler Router::Build() && {
  auto router = std::make_shared<const Router>(std::move(*this));
  return [router](Request& request, ResponseWriter& response) { router->Serve(request, response); };
}

}  // namespace plimsoll::http
