// The routes that Kubernetes asks: GET /startupz, /livez and /readyz.
//
//   AddHealthRoutes(health, router);
//   GET /readyz            200 "ok\n"   or   503 and the probes that fail
//   GET /readyz?verbose    every probe, one a line
//   GET /readyz?json       the same as JSON
#ifndef PLIMSOLL_RUNTIME_SERVICE_HEALTH_ROUTES_H_
#define PLIMSOLL_RUNTIME_SERVICE_HEALTH_ROUTES_H_

#include "plimsoll/container/health/health.h"
#include "plimsoll/runtime/http/router.h"

namespace plimsoll {

// `health` outlives the router's last request.
void AddHealthRoutes(container::Health& health, http::Router& router);

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SERVICE_HEALTH_ROUTES_H_
