// A ResponseWriter turns what a handler says into the bytes of one response.
//
//   response.Respond(200, "text/plain", "hello\n");              // all at once
//
//   response.SetStatus(404);                                      // or in steps
//   response.SetField("Content-Type", "text/html");
//   absl::Status s = response.Write("<p>nothing here");           // as often as needed
//
// Framing:   a body of up to kBuffered bytes gets a Content-Length. A longer one, or a Flush, sends
//            the head at once and goes on in chunks (HTTP/1.0: until the connection closes), unless
//            the handler set Content-Length. HEAD, 204 and 304 send no body whatever is written.
// Fields:    Date, Content-Length, Transfer-Encoding and Connection are ours; "Connection: close"
//            from the handler is heeded.
// Splitting: a field that holds a line end or another control character is not sent: the response
//            becomes a 500, since half of it would be the attacker's.
// Errors:    Write and Flush tell when the client is gone or slow; a handler may ignore it.
// Threads:   one at a time.
#ifndef PLIMSOLL_RUNTIME_HTTP_RESPONSE_WRITER_H_
#define PLIMSOLL_RUNTIME_HTTP_RESPONSE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "plimsoll/runtime/http/request_head.h"

namespace plimsoll::http {

// Where the bytes go: a buffer, and the way to send it.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  // What is appended here goes out in order, at the latest when the server waits for more input.
  virtual std::string& buffer() = 0;
  // Sends the buffer now and empties it.
  virtual absl::Status Flush() = 0;
};

class ResponseWriter {
 public:
  static constexpr size_t kBuffered = 8 << 10;

  // `date` is the Date field's value. All three outlive the writer.
  ResponseWriter(ResponseSink& sink, const RequestHead& request, std::string_view date);
  ResponseWriter(const ResponseWriter&) = delete;
  ResponseWriter& operator=(const ResponseWriter&) = delete;

  // 200 to 599; anything else becomes 500. Without effect once the head is sent.
  void SetStatus(int status);

  // Adds a field; SetField first removes those of the same name.
  void AddField(std::string_view name, std::string_view value);
  void SetField(std::string_view name, std::string_view value);

  // Appends to the body.
  absl::Status Write(std::string_view bytes);

  // Sends what was written so far.
  absl::Status Flush();

  // The whole response, in place of what was set before. Requires: the head is not sent.
  void Respond(int status, std::string_view content_type, std::string_view body);

  bool head_sent() const { return head_sent_; }

  // For the server. ---------------------------------------------------------------------------

  // Ends the response. Afterwards keep_alive() tells whether another request may follow.
  absl::Status Finish();

  // Closes the connection after this response; said in the head if it is not sent.
  void CloseAfter() { keep_alive_ = false; }
  bool keep_alive() const { return keep_alive_; }

  // True when bytes promised by the head cannot be sent any more: the connection must break, so
  // that the client does not take a part for the whole.
  bool broken() const { return broken_; }
  void Break() { broken_ = true, keep_alive_ = false; }

 private:
  enum class Framing : uint8_t { kUndecided, kLength, kChunked, kUntilClose, kNoBody };

  void AppendHead(std::optional<uint64_t> length);
  void StartStreaming();
  absl::Status Emit(std::string_view bytes);
  bool StatusHasBody() const { return status_ >= 200 && status_ != 204 && status_ != 304; }

  ResponseSink& sink_;
  std::string_view date_;
  bool head_request_;
  int minor_version_;
  bool keep_alive_;
  bool head_sent_ = false;
  bool broken_ = false;
  bool refused_ = false;  // a field would have split the response
  Framing framing_ = Framing::kUndecided;
  int status_ = 200;
  std::optional<uint64_t> declared_;  // Content-Length, as the handler set it
  uint64_t written_ = 0;              // bytes of body, sent or not
  std::string fields_;                // "Name: value\r\n"...
  std::string body_;                  // not yet sent, while framing_ is kUndecided
  absl::Status error_;                // the first failure of the sink
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_RESPONSE_WRITER_H_
