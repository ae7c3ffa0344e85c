// The process's poller: what net opens its descriptors with, and the wiring hands to the scheduler.
//
//   absl::StatusOr<sched::IdleSource*> source = netpoll::Start();   // runtime.cc, before any Go()
//   sched::SetIdleSource(*source);
//
//   absl::StatusOr<PollDesc*> desc = netpoll::Open(fd);             // net
//   ...  (*desc)->Wait(Mode::kRead)  ...
//   desc->Evict();  netpoll::Close(desc);  close(fd);
#ifndef PLIMSOLL_RUNTIME_NETPOLL_NETPOLL_H_
#define PLIMSOLL_RUNTIME_NETPOLL_NETPOLL_H_

#include "absl/status/statusor.h"
#include "plimsoll/runtime/netpoll/poll_desc.h"
#include "plimsoll/runtime/sched/idle_source.h"

namespace plimsoll::netpoll {

// Makes the poller; the second call gives the same. Before the scheduler starts, on one thread.
absl::StatusOr<sched::IdleSource*> Start();

// Registers a non-blocking descriptor. kFailedPrecondition: Start was not called; kInvalidArgument
// or kPermissionDenied: it cannot be polled (a regular file).
absl::StatusOr<PollDesc*> Open(int fd);

// Ends it, after Evict and when nobody waits; before close(fd).
void Close(PollDesc* desc);

}  // namespace plimsoll::netpoll

#endif  // PLIMSOLL_RUNTIME_NETPOLL_NETPOLL_H_
