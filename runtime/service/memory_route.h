// GET /debug/plimsoll/memory: why RSS is what it is, line by line (runtime/memory_report.h).
//
//   AddMemoryRoute(router);
//   GET /debug/plimsoll/memory         text
//   GET /debug/plimsoll/memory?json    JSON; also where Accept names application/json first
#ifndef PLIMSOLL_RUNTIME_SERVICE_MEMORY_ROUTE_H_
#define PLIMSOLL_RUNTIME_SERVICE_MEMORY_ROUTE_H_

#include "plimsoll/runtime/http/router.h"

namespace plimsoll {

void AddMemoryRoute(http::Router& router);

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SERVICE_MEMORY_ROUTE_H_
