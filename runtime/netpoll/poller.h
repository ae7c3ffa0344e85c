// A Poller is an engine that turns readiness of descriptors into runnable goroutines.
//
// Open:   registers a descriptor, once, for its whole life.
// Close:  ends that registration; called after PollDesc::Evict and before close(2), when no
//         goroutine is in Wait any more.
// The rest is sched::IdleSource: how idle Ps ask it.
#ifndef PLIMSOLL_RUNTIME_NETPOLL_POLLER_H_
#define PLIMSOLL_RUNTIME_NETPOLL_POLLER_H_

#include <concepts>

#include "absl/status/statusor.h"
#include "plimsoll/runtime/netpoll/poll_desc.h"
#include "plimsoll/runtime/sched/idle_source.h"

namespace plimsoll::netpoll {

template <typename P>
concept Poller = std::derived_from<P, sched::IdleSource> && requires(P p, int fd, PollDesc* desc) {
  { p.Open(fd) } -> std::same_as<absl::StatusOr<PollDesc*>>;
  { p.Close(desc) } -> std::same_as<void>;
};

}  // namespace plimsoll::netpoll

#endif  // PLIMSOLL_RUNTIME_NETPOLL_POLLER_H_
