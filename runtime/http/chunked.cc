#include "plimsoll/runtime/http/chunked.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "plimsoll/runtime/http/char_class.h"

namespace plimsoll::http {
namespace {

uint64_t HexValue(char c) {
  if (c <= '9') return static_cast<uint64_t>(c - '0');
  return static_cast<uint64_t>(ToLower(c) - 'a') + 10;
}

}  // namespace

ChunkedDecoder::Step ChunkedDecoder::Decode(std::string_view in, std::span<char> out) {
  size_t at = 0, produced = 0;
  const auto broken = [&] { return Step{at, produced, false}; };
  while (state_ != State::kDone) {
    if (state_ == State::kData) {
      const size_t n = std::min({static_cast<size_t>(std::min<uint64_t>(left_, SIZE_MAX)),
                                 in.size() - at, out.size() - produced});
      if (n == 0) break;
      std::memcpy(out.data() + produced, in.data() + at, n);
      at += n;
      produced += n;
      left_ -= n;
      if (left_ == 0) state_ = State::kDataCr;
      continue;
    }
    if (at == in.size()) break;
    const char c = in[at++];
    switch (state_) {
      case State::kSize:
        if (!Is(c, kHexDigit)) return broken();
        left_ = HexValue(c);
        digits_ = 1;
        state_ = State::kSizeMore;
        break;
      case State::kSizeMore:
        if (Is(c, kHexDigit)) {
          if (++digits_ > 16) return broken();
          left_ = left_ << 4 | HexValue(c);
        } else if (c == '\r') {
          state_ = State::kSizeLf;
        } else if (c == ';') {
          state_ = State::kExtension;
        } else {
          return broken();
        }
        break;
      case State::kExtension:
        if (++overhead_ > kMaxOverhead) return broken();
        if (c == '\r') {
          state_ = State::kSizeLf;
        } else if (!Is(c, kValueChar)) {
          return broken();
        }
        break;
      case State::kSizeLf:
        if (c != '\n') return broken();
        state_ = left_ == 0 ? State::kTrailer : State::kData;
        break;
      case State::kDataCr:
        if (c != '\r') return broken();
        state_ = State::kDataLf;
        break;
      case State::kDataLf:
        if (c != '\n') return broken();
        state_ = State::kSize;
        break;
      case State::kTrailer:
        if (c == '\r') {
          state_ = State::kLastLf;
        } else if (Is(c, kTokenChar)) {
          state_ = State::kTrailerName;
        } else {
          return broken();
        }
        break;
      case State::kTrailerName:
        if (c == ':') {
          state_ = State::kTrailerValue;
        } else if (!Is(c, kTokenChar)) {
          return broken();
        }
        if (++overhead_ > kMaxOverhead) return broken();
        break;
      case State::kTrailerValue:
        if (++overhead_ > kMaxOverhead) return broken();
        if (c == '\r') {
          state_ = State::kTrailerLf;
        } else if (!Is(c, kValueChar)) {
          return broken();
        }
        break;
      case State::kTrailerLf:
        if (c != '\n') return broken();
        state_ = State::kTrailer;
        break;
      case State::kLastLf:
        if (c != '\n') return broken();
        state_ = State::kDone;
        break;
      case State::kData:
      case State::kDone:
        break;  // not reached: handled above
    }
  }
  return {at, produced, true};
}

void AppendChunk(std::string_view data, std::string& out) {
  if (data.empty()) return;
  char size[16];
  const auto end = std::to_chars(size, size + sizeof(size), data.size(), 16).ptr;
  out.append(size, static_cast<size_t>(end - size));
  out.append("\r\n");
  out.append(data);
  out.append("\r\n");
}

}  // namespace plimsoll::http
