// A ChunkedDecoder takes the framing of Transfer-Encoding: chunked off a body (RFC 9112 7.1).
//
//   ChunkedDecoder decoder;
//   while (!decoder.done()) {
//     auto [consumed, produced, ok] = decoder.Decode(buffered, out);
//     if (!ok) ...                                   // malformed: 400 and close
//     buffer.Consume(consumed);  Use(out.first(produced));
//     if (consumed == 0 && produced == 0) ReadMore();
//   }
//
// Strictness: lines end in CRLF. A size has 1 to 16 hexadecimal digits and nothing but ';' or CRLF
//            behind it. Extensions and trailers are checked and dropped.
// Bounds:    extensions and trailers together may have kMaxOverhead bytes in one body: a client
//            that sends one byte a chunk behind a kilobyte of extension costs us, not it.
// Threads:   one at a time.
#ifndef PLIMSOLL_RUNTIME_HTTP_CHUNKED_H_
#define PLIMSOLL_RUNTIME_HTTP_CHUNKED_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace plimsoll::http {

class ChunkedDecoder {
 public:
  static constexpr size_t kMaxOverhead = 8 << 10;

  struct Step {
    size_t consumed;  // bytes of `in` that are done with
    size_t produced;  // bytes of body written to `out`
    bool ok;          // false: the framing is broken, and the connection with it
  };

  // Goes as far as `in` and `out` allow. Never reads past the body's last byte.
  Step Decode(std::string_view in, std::span<char> out);

  // True when the last chunk and its trailers were read.
  bool done() const { return state_ == State::kDone; }

 private:
  enum class State : uint8_t {
    kSize,
    kSizeMore,
    kExtension,
    kSizeLf,  // 1a;x=y CRLF
    kData,
    kDataCr,
    kDataLf,  // the bytes, CRLF
    kTrailer,
    kTrailerName,
    kTrailerValue,
    kTrailerLf,
    kLastLf,  // *( name: value CRLF ) CRLF
    kDone,
  };

  State state_ = State::kSize;
  uint64_t left_ = 0;  // bytes of this chunk still to come; its size while kSize
  uint8_t digits_ = 0;
  size_t overhead_ = 0;
};

// Appends `data` to `out` as one chunk. Empty data would end the body, and appends nothing.
void AppendChunk(std::string_view data, std::string& out);

// What ends a chunked body that has no trailers.
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_CHUNKED_H_
