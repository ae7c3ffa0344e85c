// A Service is an HTTP server with the life cycle that a container expects: probes, SIGTERM, drain.
//
//   int main(int argc, char** argv) {
//     return plimsoll::Main(argc, argv, [] {
//       Service service({.address = *net::Address::Parse(":8080")});
//       service.router().Handle("GET /", hello);
//       return service.Run();                            // until SIGTERM; the exit code
//     });
//   }
//
// Start:     the soft limit of descriptors is raised to the hard one; then the port is opened, and
//            only then /startupz and /readyz pass.
// SIGTERM:   (SIGINT too) /readyz fails from that moment; for `grace` everything is still served,
//            since those who route to us learn of it late; then the port is closed, who got in and
//            what was begun is answered, for at most `drain`; exit code 0. A second signal ends the
//            process at once, unless it comes within 200 ms: signals.h.
// Routes:    /startupz, /livez, /readyz and /debug/plimsoll/memory are there; yours must not take
//            their names. The last one is for who operates the service: a proxy in front keeps
//            others from /debug/.
// Failure:   a port that is taken or refused is one line on stderr, and exit code 1.
// Stderr:    "plimsoll: listening on 127.0.0.1:8080" once it does, and what happens at the end.
#ifndef PLIMSOLL_RUNTIME_SERVICE_SERVICE_H_
#define PLIMSOLL_RUNTIME_SERVICE_SERVICE_H_

#include "absl/time/time.h"
#include "plimsoll/container/health/health.h"
#include "plimsoll/runtime/http/router.h"
#include "plimsoll/runtime/http/server.h"
#include "plimsoll/runtime/net/address.h"

namespace plimsoll {

struct ServiceOptions {
  net::Address address;
  // Kubernetes: a few seconds, so that its endpoints follow; together with `drain` less than
  // terminationGracePeriodSeconds, which is 30 s unless set.
  absl::Duration grace = absl::ZeroDuration();
  absl::Duration drain = absl::Seconds(20);
  http::ServerOptions http = {};
};

class Service {
 public:
  explicit Service(ServiceOptions options);

  // To be filled before Run.
  http::Router& router() { return router_; }
  container::Health& health() { return health_; }

  // Serves until a signal and the drain after it. Once. The process's exit code.
  int Run();

 private:
  ServiceOptions options_;
  container::Health health_;
  http::Router router_;
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SERVICE_SERVICE_H_
