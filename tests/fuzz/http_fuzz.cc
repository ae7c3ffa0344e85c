// Fuzzes what the HTTP server does with a client's bytes: the parser, the chunked decoder, and a
// connection as a whole. The first byte says where the bytes are cut into packets.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/http/chunked.h"
#include "plimsoll/runtime/http/connection.h"
#include "plimsoll/runtime/http/connection_state.h"
#include "plimsoll/runtime/http/request.h"
#include "plimsoll/runtime/http/request_head.h"
#include "plimsoll/runtime/http/request_parser.h"
#include "plimsoll/runtime/http/response_writer.h"
#include "plimsoll/runtime/http/stream.h"

namespace plimsoll::http {
namespace {

void Require(bool fact) {
  if (!fact) abort();
}

bool Within(std::string_view view, std::string_view whole) {
  return view.empty() ||
         (view.data() >= whole.data() && view.data() + view.size() <= whole.data() + whole.size());
}

// Where the bytes are cut does not matter, and what was understood is well formed.
void ParserIsTheSameHoweverTheBytesCome(std::string_view input, size_t cut) {
  const ParserLimits limits{.max_head_bytes = 2000, .max_target_bytes = 500, .max_fields = 20};
  RequestHead whole_head, cut_head;
  RequestParser whole(limits), in_two(limits);
  const RequestParser::Result a = whole.Parse(input, whole_head);
  RequestParser::Result b = in_two.Parse(input.substr(0, cut), cut_head);
  if (b.state == RequestParser::kNeedMore) b = in_two.Parse(input, cut_head);
  Require(a.state == b.state);
  if (a.state == RequestParser::kBad) {
    Require(a.status >= 400 && a.status <= 505 && *a.reason != '\0');
    return;
  }
  if (a.state == RequestParser::kNeedMore) return;
  Require(a.head_bytes == b.head_bytes && a.head_bytes <= input.size());
  Require(a.head_bytes <= limits.max_head_bytes);
  Require(input.substr(0, a.head_bytes).ends_with("\r\n\r\n"));
  const std::string_view head = input.substr(0, a.head_bytes);
  Require(IsToken(whole_head.method) && Within(whole_head.method, head));
  Require(whole_head.target.size() <= limits.max_target_bytes && Within(whole_head.target, head));
  Require(whole_head.fields.size() <= limits.max_fields);
  int lengths = 0, encodings = 0;
  for (const Field& field : whole_head.fields) {
    Require(IsToken(field.name) && IsFieldValue(field.value));
    Require(Within(field.name, head) && Within(field.value, head));
    lengths += EqualsIgnoringCase(field.name, "content-length") ? 1 : 0;
    encodings += EqualsIgnoringCase(field.name, "transfer-encoding") ? 1 : 0;
  }
  // Nobody downstream could read this request's end in another way.
  Require(lengths + encodings <= 1);
  Require((whole_head.framing == BodyFraming::kChunked) == (encodings == 1));
  Require(whole_head.fields.size() == cut_head.fields.size());
}

void ChunkedIsTheSameHoweverTheBytesCome(std::string_view input, size_t out_piece) {
  std::string body[2];
  bool ok[2] = {true, true}, done[2];
  size_t consumed[2] = {0, 0};
  for (const int one_by_one : {0, 1}) {
    ChunkedDecoder decoder;
    char out[64];
    while (ok[one_by_one] && !decoder.done()) {
      std::string_view rest = input.substr(consumed[one_by_one]);
      if (one_by_one == 1) rest = rest.substr(0, 1);
      const ChunkedDecoder::Step step =
          decoder.Decode(rest, {out, one_by_one == 1 ? size_t{1} : out_piece % 64 + 1});
      Require(step.consumed <= rest.size());
      consumed[one_by_one] += step.consumed;
      body[one_by_one].append(out, step.produced);
      ok[one_by_one] = step.ok;
      if (step.consumed == 0 && step.produced == 0) break;
    }
    done[one_by_one] = decoder.done();
  }
  Require(ok[0] == ok[1] && done[0] == done[1] && body[0] == body[1]);
  if (done[0]) Require(consumed[0] == consumed[1]);
}

// The input, in packets of one size, and then the end.
class Packets final : public Stream {
 public:
  Packets(std::string_view input, size_t piece) : rest_(input), piece_(piece) {}
  absl::StatusOr<size_t> Read(std::span<char> buffer) override {
    const size_t n = std::min({buffer.size(), rest_.size(), piece_});
    rest_.copy(buffer.data(), n);
    rest_.remove_prefix(n);
    return n;
  }
  absl::Status AwaitReadable() override { return absl::OkStatus(); }
  absl::Status Write(std::string_view bytes) override {
    written_.append(bytes);
    return absl::OkStatus();
  }
  void SetReadTimeout(absl::Duration) override {}
  void SetWriteTimeout(absl::Duration) override {}
  absl::Status CloseWrite() override { return absl::OkStatus(); }
  const std::string& written() const { return written_; }

 private:
  std::string_view rest_;
  const size_t piece_;
  std::string written_;
};

std::string Conversation(std::string_view input, size_t piece) {
  Packets stream(input, piece);
  const std::atomic<ServerStage> stage{ServerStage::kServing};
  ConnectionState state(stage);
  const Handler handler = [](Request& request, ResponseWriter& response) {
    const absl::StatusOr<std::string> body = request.ReadAll();
    // The views are alive after the body was read.
    Require(IsToken(request.method()));
    for (const Field& field : request.fields()) Require(IsFieldValue(field.value));
    // A number for the body: what the client sent must not look like an answer of ours.
    response.Respond(
        200, "", "=" + (body.ok() ? std::to_string(std::hash<std::string>()(*body)) : "broken"));
  };
  ConnectionLimits limits;
  limits.parser.max_head_bytes = 2000;
  limits.parser.max_body_bytes = 3000;
  limits.read_buffer_bytes = 64;
  ServeConnection(stream, state, handler, limits);
  std::string all = stream.written();
  Require(all.empty() || all.starts_with("HTTP/1.1 "));
  // The clock is no matter of the input.
  for (size_t at = 0; (at = all.find("\r\nDate: ", at)) != std::string::npos;) {
    all.erase(at, all.find("\r\n", at + 2) - at);
  }
  // Nor is the sentence with which a connection's last request is refused: noise may be known as
  // such before a better reason came.
  if (const size_t refusal = all.rfind("\r\nConnection: close\r\n\r\n4");
      refusal != std::string::npos) {
    const size_t status = all.rfind("HTTP/1.1 4", refusal);
    Require(status != std::string::npos);
    all.erase(status + 12);
  }
  return all;
}

}  // namespace
}  // namespace plimsoll::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace plimsoll::http;
  if (size == 0) return 0;
  const size_t piece = data[0] % 32 + 1;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  ParserIsTheSameHoweverTheBytesCome(input, std::min<size_t>(data[0], input.size()));
  ChunkedIsTheSameHoweverTheBytesCome(input, data[0]);
  Require(Conversation(input, piece) == Conversation(input, 4096));
  return 0;
}
