#include "plimsoll/runtime/service/service.h"

#include <sys/resource.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/net/listener.h"
#include "plimsoll/runtime/service/health_routes.h"
#include "plimsoll/runtime/service/memory_route.h"
#include "plimsoll/runtime/service/signals.h"
#include "plimsoll/runtime/time/sleep.h"

namespace plimsoll {
namespace {

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

// 1024, the usual soft limit, is for programs that use select(2); each connection is one.
void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Service::Service(ServiceOptions options) : options_(std::move(options)) {
  AddHealthRoutes(health_, router_);
  AddMemoryRoute(router_);
}

int Service::Run() {
  absl::StatusOr<TerminationSignals> signals = TerminationSignals::Install();
  if (!signals.ok()) {
    base::RawLog("plimsoll: ", Text(signals.status()));
    return 1;
  }
  RaiseDescriptorLimit();
  const absl::StatusOr<net::Listener> listener = net::Listen(options_.address);
  if (!listener.ok()) {
    base::RawLog("plimsoll: ", Text(listener.status()));
    return 1;
  }
  auto server = std::make_unique<http::Server>(std::move(router_).Build(), options_.http);
  Go([server = server.get(), listener = *listener] { server->Serve(listener); },
     {.label = "accept"});
  health_.MarkStarted();
  base::RawLog("plimsoll: listening on ", listener->address().ToString());

  const absl::StatusOr<int> signal = signals->Wait();
  if (!signal.ok()) {
    base::RawLog("plimsoll: ", Text(signal.status()));
    return 1;
  }
  health_.StartDraining(std::string(SignalName(*signal)));
  base::RawLog("plimsoll: ", SignalName(*signal), ": not ready from now on; ",
               base::Counted{server->connections(), "connection"});
  Sleep(options_.grace);
  const absl::Status drained = server->Shutdown(options_.drain);
  if (!drained.ok()) {
    base::RawLog("plimsoll: ", Text(drained));
    // A handler may hang for good, and it may hold this server; the process ends under both.
    [[maybe_unused]] http::Server* abandoned = server.release();
    return 0;
  }
  base::RawLog("plimsoll: drained; exit 0");
  return 0;
}

}  // namespace plimsoll
