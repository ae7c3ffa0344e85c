// The process's poller: what net opens its descriptors with, and the wiring hands to the scheduler.
//
//   netpoll::Started started = *netpoll::Start(netpoll::Engine::kEpoll);  // before any Go()
//   sched::SetIdleSource(started.source);
//
//   absl::StatusOr<PollDesc*> desc = netpoll::Open(fd);             // net
//   ...  (*desc)->Wait(Mode::kRead)  ...
//   desc->Evict();  netpoll::Close(desc);  close(fd);
#ifndef PLIMSOLL_RUNTIME_NETPOLL_NETPOLL_H_
#define PLIMSOLL_RUNTIME_NETPOLL_NETPOLL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "plimsoll/runtime/netpoll/poll_desc.h"
#include "plimsoll/runtime/sched/idle_source.h"

namespace plimsoll::netpoll {

enum class Engine : uint8_t { kEpoll, kIoUring };

// "epoll", "io_uring".
std::string_view ToString(Engine engine);

// What PLIMSOLL_POLLER asks for: "epoll", "io_uring", or "auto", which is what DESIGN.md found to
// be the better one: epoll. nullopt for any other text; null and "" are the default, epoll.
std::optional<Engine> ParseEngine(const char* text);

struct Started {
  sched::IdleSource* source;
  Engine engine;
  std::string refusal;  // why io_uring, which was asked for, is not the engine; else empty
};

// Makes the poller; the second call gives the same. Before the scheduler starts, on one thread.
// Where the kernel or a filter refuses io_uring (ENOSYS, EPERM, EACCES, or a kernel before 5.17)
// epoll is used instead; any other failure is told as it is.
absl::StatusOr<Started> Start(Engine wanted = Engine::kEpoll);

// Registers a non-blocking descriptor. kFailedPrecondition: Start was not called; kInvalidArgument
// or kPermissionDenied: it cannot be polled (a regular file).
absl::StatusOr<PollDesc*> Open(int fd);

// Ends it, after Evict and when nobody waits; before close(fd).
void Close(PollDesc* desc);

}  // namespace plimsoll::netpoll

#endif  // PLIMSOLL_RUNTIME_NETPOLL_NETPOLL_H_
