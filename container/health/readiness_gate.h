// A ReadinessGate keeps a service from being ready until somebody opens it.
//
//   ReadinessGate cache = *health.AddGate("cache", "warming up");
//   Warm(); cache.Open();
//   cache.Close("rebuilding the index");      // takes the pod out of its endpoints for a while
//
// Handle:    moves, does not copy. The gate that goes away stops counting; its Health may be gone
//            by then, and the handle of a gate that was moved from does nothing.
// Blocking:  never, but for a lock held over a few instructions.
// Threads:   any number may open, close and ask at once.
// Ordering:  what precedes Open() is visible after a report that finds the gate open.
#ifndef PLIMSOLL_CONTAINER_HEALTH_READINESS_GATE_H_
#define PLIMSOLL_CONTAINER_HEALTH_READINESS_GATE_H_

#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"

namespace plimsoll::container {

// What a gate's handle and its Health both see.
class GateState {
 public:
  explicit GateState(std::string why_closed) : why_closed_(std::move(why_closed)) {}

  void Open();
  void Close(std::string why);
  void Abandon();

  bool abandoned() const;
  // OK when open; kUnavailable with the reason when closed.
  absl::Status Check() const;

 private:
  enum class State { kClosed, kOpen, kAbandoned };
  mutable std::mutex mu_;  // a leaf: nothing is called while it is held
  State state_ = State::kClosed;
  std::string why_closed_;
};

class ReadinessGate {
 public:
  explicit ReadinessGate(std::shared_ptr<GateState> state) : state_(std::move(state)) {}
  ReadinessGate(ReadinessGate&&) = default;
  ReadinessGate& operator=(ReadinessGate&& other) noexcept;
  ~ReadinessGate();

  void Open() const;
  // `why` is what reports will say.
  void Close(std::string why) const;
  bool is_open() const;

 private:
  std::shared_ptr<GateState> state_;  // null: moved from
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_HEALTH_READINESS_GATE_H_
