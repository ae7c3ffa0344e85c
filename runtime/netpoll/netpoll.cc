#include "plimsoll/runtime/netpoll/netpoll.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "plimsoll/runtime/netpoll/epoll.h"
#include "plimsoll/runtime/netpoll/io_uring.h"

namespace plimsoll::netpoll {
namespace {

// One of them, once started. Never destroyed: threads wait in it until the process ends.
EpollPoller* g_epoll = nullptr;
IoUringPoller* g_io_uring = nullptr;
std::string* g_refusal = nullptr;

template <typename P>
absl::Status StartOne(P*& poller) {
  auto made = std::make_unique<P>();
  if (absl::Status s = made->Start(); !s.ok()) return s;
  poller = made.release();
  return absl::OkStatus();
}

// Not for us, rather than not now.
bool IsRefusal(const absl::Status& status) {
  return absl::IsUnimplemented(status) || absl::IsPermissionDenied(status);
}

}  // namespace

std::string_view ToString(Engine engine) {
  return engine == Engine::kIoUring ? "io_uring" : "epoll";
}

std::optional<Engine> ParseEngine(const char* text) {
  const std::string_view wanted = text == nullptr ? "" : text;
  if (wanted.empty() || wanted == "epoll" || wanted == "auto") return Engine::kEpoll;
  if (wanted == "io_uring") return Engine::kIoUring;
  return std::nullopt;
}

absl::StatusOr<Started> Start(Engine wanted) {
  if (g_refusal == nullptr) g_refusal = new std::string;
  if (g_epoll == nullptr && g_io_uring == nullptr) {
    if (wanted == Engine::kIoUring) {
      if (absl::Status s = StartOne(g_io_uring); !s.ok()) {
        if (!IsRefusal(s)) return s;
        *g_refusal = std::string(s.message());
      }
    }
    if (g_io_uring == nullptr) {
      if (absl::Status s = StartOne(g_epoll); !s.ok()) return s;
    }
  }
  if (g_io_uring != nullptr) return Started{g_io_uring, Engine::kIoUring, *g_refusal};
  return Started{g_epoll, Engine::kEpoll, *g_refusal};
}

absl::StatusOr<PollDesc*> Open(int fd) {
  if (g_epoll != nullptr) return g_epoll->Open(fd);
  if (g_io_uring != nullptr) return g_io_uring->Open(fd);
  return absl::FailedPreconditionError("netpoll: the poller is not running; call inside Main");
}

void Close(PollDesc* desc) {
  if (g_epoll != nullptr) {
    g_epoll->Close(desc);
  } else {
    g_io_uring->Close(desc);
  }
}

}  // namespace plimsoll::netpoll
