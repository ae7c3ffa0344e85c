// An InputBuffer holds what was read from a stream and not yet parsed.
//
//   data_                begin_            end_               capacity_
//    +---------------------+-----------------+------------------+
//    |  consumed: views    |   view()        |   room           |
//    |  into it stay valid |                 |                  |
//    +---------------------+-----------------+------------------+
//
// Invariants:
//   (1) begin_ <= end_ <= capacity_.
//   (2) Between Pin() and Unpin() no byte that was in view() or before it moves or dies, whatever
//   is
//       filled: a handler's views of its request's head live there.
#ifndef PLIMSOLL_RUNTIME_HTTP_INPUT_BUFFER_H_
#define PLIMSOLL_RUNTIME_HTTP_INPUT_BUFFER_H_

#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "plimsoll/runtime/http/stream.h"

namespace plimsoll::http {

class InputBuffer {
 public:
  explicit InputBuffer(size_t initial_bytes) : initial_(initial_bytes) {}

  std::string_view view() const { return {data_.get() + begin_, end_ - begin_}; }
  bool empty() const { return begin_ == end_; }
  void Consume(size_t bytes) { begin_ += bytes; }

  // Reads once from `stream` behind view(), making room by moving or growing up to max_bytes.
  // 0: the stream's end. Requires: view().size() < max_bytes.
  absl::StatusOr<size_t> Fill(Stream& stream, size_t max_bytes);

  void Pin() { pin_ = true; }
  void Unpin() {
    pin_ = false;
    pinned_.reset();
  }

  // Gives the memory back. Requires: empty(), not pinned.
  void Release();

 private:
  void MakeRoom(size_t max_bytes);

  size_t initial_;
  std::unique_ptr<char[]> data_;
  std::unique_ptr<char[]> pinned_;  // what data_ was when it was pinned, if it had to change
  size_t begin_ = 0, end_ = 0, capacity_ = 0;
  bool pin_ = false;
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_INPUT_BUFFER_H_
