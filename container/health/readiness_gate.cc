#include "plimsoll/container/health/readiness_gate.h"

#include <utility>

namespace plimsoll::container {

void GateState::Open() {
  std::lock_guard hold(mu_);
  if (state_ == State::kClosed) state_ = State::kOpen;
}

void GateState::Close(std::string why) {
  std::lock_guard hold(mu_);
  if (state_ == State::kAbandoned) return;
  state_ = State::kClosed;
  why_closed_ = std::move(why);
}

void GateState::Abandon() {
  std::lock_guard hold(mu_);
  state_ = State::kAbandoned;
}

bool GateState::abandoned() const {
  std::lock_guard hold(mu_);
  return state_ == State::kAbandoned;
}

absl::Status GateState::Check() const {
  std::lock_guard hold(mu_);
  if (state_ != State::kClosed) return absl::OkStatus();
  return absl::UnavailableError(why_closed_);
}

ReadinessGate& ReadinessGate::operator=(ReadinessGate&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) state_->Abandon();
    state_ = std::move(other.state_);
  }
  return *this;
}

ReadinessGate::~ReadinessGate() {
  if (state_ != nullptr) state_->Abandon();
}

void ReadinessGate::Open() const {
  if (state_ != nullptr) state_->Open();
}

void ReadinessGate::Close(std::string why) const {
  if (state_ != nullptr) state_->Close(std::move(why));
}

bool ReadinessGate::is_open() const { return state_ != nullptr && state_->Check().ok(); }

}  // namespace plimsoll::container
