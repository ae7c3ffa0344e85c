// Waits that end when a context does.
//
//   absl::StatusOr<std::optional<Job>> job = Recv(ctx, jobs);
//   if (!job.ok()) return job.status();           // what ctx.Err() says
//   if (absl::Status s = Sleep(ctx, absl::Seconds(1)); !s.ok()) return s;
//
// A context that is cancelled already ends them at once, even if they could go on. The nil context
// panics with the caller's line.
#ifndef PLIMSOLL_RUNTIME_CONTEXT_CONTEXT_OPS_H_
#define PLIMSOLL_RUNTIME_CONTEXT_CONTEXT_OPS_H_

#include <optional>
#include <source_location>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/context/context.h"

namespace plimsoll {

// The oldest value, nullopt once the channel is closed and drained, or ctx.Err().
template <typename Handle>
absl::StatusOr<std::optional<typename Handle::value_type>> Recv(
    const Context& ctx, const Handle& channel,
    std::source_location where = std::source_location::current()) {
  if (absl::Status err = ctx.Err(where); !err.ok()) return err;
  std::optional<typename Handle::value_type> got;
  bool cancelled = false;
  Select(OnRecv(channel, [&](std::optional<typename Handle::value_type> v) { got = std::move(v); }),
         OnDone(ctx, [&] { cancelled = true; }));
  if (cancelled) return ctx.Err();
  return got;
}

// OK when the value was sent; ctx.Err() when it was not.
template <typename Handle>
absl::Status Send(const Context& ctx, const Handle& channel, typename Handle::value_type value,
                  std::source_location where = std::source_location::current()) {
  if (absl::Status err = ctx.Err(where); !err.ok()) return err;
  bool cancelled = false;
  Select(OnSend(channel, std::move(value), internal::NoHandler(), where),
         OnDone(ctx, [&] { cancelled = true; }));
  return cancelled ? ctx.Err() : absl::OkStatus();
}

// OK after `duration`; ctx.Err() when it ended before.
inline absl::Status Sleep(const Context& ctx, absl::Duration duration,
                          std::source_location where = std::source_location::current()) {
  if (absl::Status err = ctx.Err(where); !err.ok()) return err;
  bool cancelled = false;
  Select(OnDone(ctx, [&] { cancelled = true; }), Timeout(duration));
  return cancelled ? ctx.Err() : absl::OkStatus();
}

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_CONTEXT_CONTEXT_OPS_H_
