// A Router picks the handler for a request by method and path.
//
//   Router router;
//   router.Handle("GET /limits", limits_handler);
//   router.Handle("/static/", files);               // any method; everything below
//   http::Handler handler = std::move(router).Build();
//
// Patterns: "[METHOD ]/path". A path that ends in '/' matches everything below it, and the longest
//           match wins; any other path matches itself alone. A pattern with a method goes before
//           the same without. GET answers HEAD as well.
// Misses:   404; 405 with Allow where another method would have matched; 501 for a method that
//           HTTP does not know and no pattern names.
// Misuse:   a pattern without a leading slash, or the same pattern twice, ends the process: CHECK.
#ifndef PLIMSOLL_RUNTIME_HTTP_ROUTER_H_
#define PLIMSOLL_RUNTIME_HTTP_ROUTER_H_

#include <map>
#include <string>
#include <string_view>

#include "plimsoll/runtime/http/connection.h"

namespace plimsoll::http {

class Router {
 public:
  void Handle(std::string_view pattern, Handler handler);

  // Answers the request by the pattern it matches.
  void Serve(Request& request, ResponseWriter& response) const;

  // The router as a Handler that owns it.
  Handler Build() &&;

 private:
  // Method -> handler; "" is any method.
  using Methods = std::map<std::string, Handler, std::less<>>;
  std::map<std::string, Methods, std::less<>> paths_;
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_ROUTER_H_
