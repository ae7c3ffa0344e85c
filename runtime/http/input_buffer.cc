#include "plimsoll/runtime/http/input_buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace plimsoll::http {

void InputBuffer::MakeRoom(size_t max_bytes) {
  const size_t held = end_ - begin_;
  const bool may_move = !pin_ || pinned_ != nullptr;  // by (2)
  if (may_move && data_ != nullptr) {
    if (held == 0) begin_ = end_ = 0;
    if (end_ < capacity_) return;
    if (begin_ > 0) {
      std::memmove(data_.get(), data_.get() + begin_, held);
      begin_ = 0;
      end_ = held;
      return;
    }
  } else if (end_ < capacity_) {
    return;
  }
  const size_t wanted = std::max(initial_, held * 2);
  const size_t capacity = std::max(std::min(wanted, max_bytes), held + 1);
  auto bigger = std::make_unique_for_overwrite<char[]>(capacity);
  if (held > 0) std::memcpy(bigger.get(), data_.get() + begin_, held);
  if (pin_ && pinned_ == nullptr) pinned_ = std::move(data_);
  data_ = std::move(bigger);
  capacity_ = capacity;
  begin_ = 0;
  end_ = held;
}

absl::StatusOr<size_t> InputBuffer::Fill(Stream& stream, size_t max_bytes) {
  MakeRoom(max_bytes);
  absl::StatusOr<size_t> n = stream.Read({data_.get() + end_, capacity_ - end_});
  if (n.ok()) end_ += *n;
  return n;
}

void InputBuffer::Release() {
  data_.reset();
  begin_ = end_ = capacity_ = 0;
}

}  // namespace plimsoll::http
