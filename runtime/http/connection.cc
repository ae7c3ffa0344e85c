#include "plimsoll/runtime/http/connection.h"

#include <cxxabi.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/http/chunked.h"
#include "plimsoll/runtime/http/date.h"
#include "plimsoll/runtime/http/input_buffer.h"
#include "plimsoll/runtime/http/status.h"

namespace plimsoll::http {
namespace {

// A pipelining client gets its answers in writes of about this size.
constexpr size_t kWriteBatch = 16 << 10;
// A buffer that one long response grew is not kept for the short ones.
constexpr size_t kKeptOutput = 32 << 10;
// Unread body that is skipped to save the connection; beyond it, closing is cheaper.
constexpr uint64_t kMaxSkippedBody = 64 << 10;
// How long, and for how many bytes, a closing connection listens on.
constexpr absl::Duration kLinger = absl::Milliseconds(500);
constexpr size_t kMaxLingerBytes = 256 << 10;
// The least room for a body's framing.
constexpr size_t kBodyBufferBytes = 4 << 10;

class Connection final : private BodySource, private ResponseSink {
 public:
  Connection(Stream& stream, ConnectionState& state, const Handler& handler,
             const ConnectionLimits& limits)
      : stream_(stream),
        state_(state),
        handler_(handler),
        limits_(limits),
        parser_(limits.parser),
        in_(std::min(limits.read_buffer_bytes, limits.parser.max_head_bytes)) {}

  void Serve() {
    stream_.SetWriteTimeout(limits_.write_timeout);
    bool linger = false;
    while (AwaitRequest()) {
      const Next next = ServeOne();
      if (next == Next::kRequest) continue;
      linger = next == Next::kLinger;
      break;
    }
    const bool sent = Flush().ok();
    if (linger && sent) Linger();
  }

 private:
  enum class Next : uint8_t {
    kRequest,  // another request may follow
    kClose,    // nothing is lost by closing now
    kLinger,   // the client may still be sending
    kBreak,    // what was sent is a part: reset rather than end
  };

  // Sends what is due, and waits for the first byte of a request. False: there will be none.
  bool AwaitRequest() {
    if (!in_.empty()) return out_.size() < kWriteBatch || Flush().ok();
    if (!Flush().ok()) return false;
    in_.Release();
    out_ = std::string();
    if (std::exchange(new_, false)) {
      stream_.SetReadTimeout(std::min(limits_.first_request, limits_.idle_timeout));
      const absl::Status readable = stream_.AwaitReadable();
      if (!absl::IsDeadlineExceeded(readable)) return readable.ok();
    }
    if (state_.draining()) return false;
    stream_.SetReadTimeout(limits_.idle_timeout);  // before BecomeIdle: an interruption is later
    if (!state_.BecomeIdle()) return false;
    if (!stream_.AwaitReadable().ok()) return false;
    // Idle until a byte is here: "readable" may have been said of bytes that were read before, and
    // the server must still be able to wake who waits in this read.
    const absl::StatusOr<size_t> n = Fill(limits_.parser.max_head_bytes);
    if (!n.ok() || *n == 0) return false;
    // Interrupted a moment too late: the request is here, and is answered as the last one.
    static_cast<void>(state_.BecomeActive());
    return true;
  }

  Next ServeOne() {
    parser_.Reset();
    bool timed = false;
    while (true) {
      const RequestParser::Result r = parser_.Parse(in_.view(), head_);
      if (r.state == RequestParser::kDone) {
        in_.Consume(r.head_bytes);
        break;
      }
      if (r.state == RequestParser::kBad) return Refuse(r.status, r.reason);
      if (!in_.empty() && !timed) {
        stream_.SetReadTimeout(limits_.head_timeout);
        timed = true;
      }
      absl::StatusOr<size_t> n = Fill(limits_.parser.max_head_bytes);
      if (!n.ok()) {
        return absl::IsDeadlineExceeded(n.status()) && !in_.empty()
                   ? Refuse(408, "the request did not come in time")
                   : Next::kClose;
      }
      if (*n == 0) return Next::kClose;  // hung up, perhaps half way: there is nobody to tell
    }
    return Answer();
  }

  Next Answer() {
    framing_ = head_.framing;
    left_ = head_.framing == BodyFraming::kLength ? head_.content_length : 0;
    body_read_ = 0;
    chunks_ = ChunkedDecoder();
    body_error_ = absl::OkStatus();
    continue_due_ = head_.expect_continue;

    in_.Pin();
    ResponseWriter response(*this, head_, date_.Now());
    Request request(head_, *this);
    CallHandler(request, response);
    if (state_.parting()) response.CloseAfter();
    // A client that waits for "100 Continue" may or may not send its body now: nobody can tell.
    if (continue_due_ || !body_error_.ok()) response.CloseAfter();
    if (BodyLeft() && framing_ == BodyFraming::kLength && left_ > kMaxSkippedBody) {
      response.CloseAfter();
    }
    response.Finish().IgnoreError();  // the handler's mistakes were answered by Finish itself
    if (response.broken()) {
      in_.Unpin();
      return Next::kBreak;
    }
    bool keep = response.keep_alive();
    const bool unread = BodyLeft();
    if (keep && unread) keep = SkipBody();
    in_.Unpin();
    if (keep) return Next::kRequest;
    return unread || !in_.empty() || !body_error_.ok() ? Next::kLinger : Next::kClose;
  }

  void CallHandler(Request& request, ResponseWriter& response) {
    try {
      handler_(request, response);
    } catch (abi::__forced_unwind&) {
      throw;  // Goexit: the goroutine ends, and with it the connection
    } catch (const std::exception& e) {
      HandlerFailed(e.what(), response);
    } catch (...) {
      HandlerFailed("an exception that is no std::exception", response);
    }
  }

  void HandlerFailed(std::string_view what, ResponseWriter& response) {
    base::RawLog("plimsoll: http: the handler of ", head_.method, " ", head_.path,
                 " threw: ", what);
    if (response.head_sent()) {
      response.Break();
      return;
    }
    response.Respond(500, "text/plain; charset=utf-8", "500 Internal Server Error\n");
    response.CloseAfter();
  }

  // Answers what could not be understood. Whatever follows on this connection cannot be either.
  Next Refuse(int status, const char* reason) {
    RequestHead unknown;
    unknown.keep_alive = false;
    ResponseWriter response(*this, unknown, date_.Now());
    std::string text = std::to_string(status);
    text.append(" ").append(StatusText(status)).append(": ").append(reason).append("\n");
    response.Respond(status, "text/plain; charset=utf-8", text);
    response.Finish().IgnoreError();
    return Next::kLinger;
  }

  // Every read comes through here: answers go out before we wait.
  absl::StatusOr<size_t> Fill(size_t max_bytes) {
    if (absl::Status s = Flush(); !s.ok()) return s;
    return in_.Fill(stream_, max_bytes);
  }

  // BodySource ----------------------------------------------------------------------------------

  bool BodyLeft() const {
    switch (framing_) {
      case BodyFraming::kNone:
        return false;
      case BodyFraming::kLength:
        return left_ > 0;
      case BodyFraming::kChunked:
        return !chunks_.done();
    }
    return false;
  }

  absl::StatusOr<size_t> ReadBody(std::span<char> buffer) override {
    if (!body_error_.ok()) return body_error_;
    if (!BodyLeft() || buffer.empty()) return size_t{0};
    if (continue_due_) {
      continue_due_ = false;
      out_.append("HTTP/1.1 100 Continue\r\n\r\n");
    }
    absl::StatusOr<size_t> n =
        framing_ == BodyFraming::kLength ? ReadCounted(buffer) : ReadChunked(buffer);
    if (!n.ok()) body_error_ = n.status();
    return n;
  }

  absl::StatusOr<size_t> ReadCounted(std::span<char> buffer) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(buffer.size(), left_));
    size_t got = std::min(wanted, in_.view().size());
    if (got > 0) {
      in_.view().copy(buffer.data(), got);
      in_.Consume(got);
    } else {
      // Past the buffer, straight to the reader: never more than the body's, by `wanted`.
      if (absl::Status s = Flush(); !s.ok()) return s;
      stream_.SetReadTimeout(limits_.body_timeout);
      absl::StatusOr<size_t> n = stream_.Read(buffer.first(wanted));
      if (!n.ok()) return n.status();
      if (*n == 0) return CutShort();
      got = *n;
    }
    left_ -= got;
    return got;
  }

  absl::StatusOr<size_t> ReadChunked(std::span<char> buffer) {
    while (true) {
      const ChunkedDecoder::Step step = chunks_.Decode(in_.view(), buffer);
      in_.Consume(step.consumed);
      if (!step.ok) return absl::InvalidArgumentError("http: the chunked body is malformed");
      body_read_ += step.produced;
      if (body_read_ > limits_.parser.max_body_bytes) {
        return absl::ResourceExhaustedError("http: the chunked body is larger than allowed");
      }
      if (step.produced > 0 || chunks_.done()) return step.produced;
      stream_.SetReadTimeout(limits_.body_timeout);
      absl::StatusOr<size_t> n = Fill(kBodyBufferBytes);
      if (!n.ok()) return n.status();
      if (*n == 0) return CutShort();
    }
  }

  static absl::Status CutShort() {
    return absl::UnavailableError("http: the client hung up within the body");
  }

  // Reads over what the handler left. False: better close.
  bool SkipBody() {
    char scrap[512];  // small: this is a goroutine's stack
    uint64_t skipped = 0;
    while (BodyLeft() && skipped <= kMaxSkippedBody) {
      absl::StatusOr<size_t> n = ReadBody(scrap);
      if (!n.ok()) return false;
      skipped += *n;
    }
    return !BodyLeft();
  }

  // ResponseSink --------------------------------------------------------------------------------

  std::string& buffer() override { return out_; }

  absl::Status Flush() override {
    if (out_.empty()) return absl::OkStatus();
    stream_.SetWriteTimeout(limits_.write_timeout);
    absl::Status s = stream_.Write(out_);
    if (out_.capacity() > kKeptOutput) out_ = std::string();
    out_.clear();
    return s;
  }

  void Linger() {
    if (!stream_.CloseWrite().ok()) return;
    stream_.SetReadTimeout(kLinger);
    char scrap[512];
    size_t read = 0;
    while (read < kMaxLingerBytes) {
      absl::StatusOr<size_t> n = stream_.Read(scrap);
      if (!n.ok() || *n == 0) return;
      read += *n;
    }
  }

  Stream& stream_;
  ConnectionState& state_;
  const Handler& handler_;
  const ConnectionLimits& limits_;
  RequestParser parser_;
  RequestHead head_;
  InputBuffer in_;
  std::string out_;
  DateCache date_;
  bool new_ = true;  // no request was waited for yet

  // The body of the request that is being answered.
  BodyFraming framing_ = BodyFraming::kNone;
  uint64_t left_ = 0;       // kLength: bytes not yet read
  uint64_t body_read_ = 0;  // kChunked: bytes read
  ChunkedDecoder chunks_;
  absl::Status body_error_;
  bool continue_due_ = false;
};

}  // namespace

void ServeConnection(Stream& stream, ConnectionState& state, const Handler& handler,
                     const ConnectionLimits& limits) {
  Connection(stream, state, handler, limits).Serve();
}

}  // namespace plimsoll::http
