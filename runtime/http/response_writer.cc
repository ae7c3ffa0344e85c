#include "plimsoll/runtime/http/response_writer.h"

#include <charconv>

#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/http/chunked.h"
#include "plimsoll/runtime/http/fields.h"
#include "plimsoll/runtime/http/status.h"

namespace plimsoll::http {
namespace {

// Beyond this the buffer goes out while the handler still writes.
constexpr size_t kFlushAt = 16 << 10;

void AppendNumber(uint64_t number, std::string& out) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  out.append(digits, static_cast<size_t>(end - digits));
}

void AppendStatusLine(int status, std::string& out) {
  if (status == 200) {  // most of them
    out.append("HTTP/1.1 200 OK\r\n");
    return;
  }
  out.append("HTTP/1.1 ");
  AppendNumber(static_cast<uint64_t>(status), out);
  out.push_back(' ');
  out.append(StatusText(status));
  out.append("\r\n");
}

}  // namespace

ResponseWriter::ResponseWriter(ResponseSink& sink, const RequestHead& request,
                               std::string_view date)
    : sink_(sink),
      date_(date),
      head_request_(request.method == "HEAD"),
      minor_version_(request.minor_version),
      keep_alive_(request.keep_alive) {}

void ResponseWriter::SetStatus(int status) {
  if (head_sent_) return;
  status_ = status >= 200 && status <= 599 ? status : 500;
}

void ResponseWriter::AddField(std::string_view name, std::string_view value) {
  if (head_sent_) return;
  if (!IsToken(name) || !IsFieldValue(value)) {
    base::RawLog("plimsoll: http: a response field with a forbidden character was not sent; 500");
    refused_ = true;
    return;
  }
  switch (name.size()) {
    case 4:
      if (EqualsIgnoringCase(name, "date")) return;
      break;
    case 10:
      if (EqualsIgnoringCase(name, "connection")) {
        ForEachListElement(value, [this](std::string_view option) {
          if (EqualsIgnoringCase(option, "close")) keep_alive_ = false;
        });
        return;
      }
      break;
    case 14:
      if (EqualsIgnoringCase(name, "content-length")) {
        uint64_t length = 0;
        const auto r = std::from_chars(value.data(), value.data() + value.size(), length);
        if (r.ec != std::errc() || r.ptr != value.data() + value.size()) {
          base::RawLog("plimsoll: http: a handler's Content-Length is not a number; 500");
          refused_ = true;
          return;
        }
        declared_ = length;
        return;
      }
      break;
    case 17:
      if (EqualsIgnoringCase(name, "transfer-encoding")) return;
      break;
    default:
      break;
  }
  fields_.append(name);
  fields_.append(": ");
  fields_.append(value);
  fields_.append("\r\n");
}

void ResponseWriter::SetField(std::string_view name, std::string_view value) {
  for (size_t at = 0; at < fields_.size();) {
    const size_t end = fields_.find('\n', at) + 1;
    if (fields_.size() - at > name.size() && fields_[at + name.size()] == ':' &&
        EqualsIgnoringCase(std::string_view(fields_).substr(at, name.size()), name)) {
      fields_.erase(at, end - at);
    } else {
      at = end;
    }
  }
  AddField(name, value);
}

void ResponseWriter::AppendHead(std::optional<uint64_t> length) {
  std::string& out = sink_.buffer();
  head_sent_ = true;
  AppendStatusLine(status_, out);
  out.append("Date: ");
  out.append(date_);
  out.append("\r\n");
  out.append(fields_);
  if (length.has_value()) {
    out.append("Content-Length: ");
    AppendNumber(*length, out);
    out.append("\r\n");
  } else if (framing_ == Framing::kChunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  }
  if (!keep_alive_) {
    out.append("Connection: close\r\n");
  } else if (minor_version_ == 0) {
    out.append("Connection: keep-alive\r\n");
  }
  out.append("\r\n");
}

// The head goes out before the body's length is known, or since the body is long.
void ResponseWriter::StartStreaming() {
  if (refused_) {
    // Nothing of the handler's is sent; what it writes from here on is counted and dropped.
    status_ = 500;
    fields_.clear();
    body_.clear();
    declared_.reset();
    framing_ = Framing::kNoBody;
    AppendHead(0);
    return;
  }
  if (!StatusHasBody()) {
    framing_ = Framing::kNoBody;
    // RFC 9110 8.6: no Content-Length in a 204; in a 304 it would be another response's.
    AppendHead(std::nullopt);
  } else if (declared_.has_value()) {
    framing_ = head_request_ ? Framing::kNoBody : Framing::kLength;
    AppendHead(declared_);
  } else if (minor_version_ >= 1) {
    framing_ = Framing::kChunked;
    AppendHead(std::nullopt);
    if (head_request_) framing_ = Framing::kNoBody;
  } else {
    framing_ = head_request_ ? Framing::kNoBody : Framing::kUntilClose;
    if (framing_ == Framing::kUntilClose) keep_alive_ = false;
    AppendHead(std::nullopt);
  }
}

absl::Status ResponseWriter::Emit(std::string_view bytes) {
  std::string& out = sink_.buffer();
  switch (framing_) {
    case Framing::kChunked:
      AppendChunk(bytes, out);
      break;
    case Framing::kLength:
    case Framing::kUntilClose:
      out.append(bytes);
      break;
    case Framing::kNoBody:
    case Framing::kUndecided:
      break;
  }
  if (out.size() >= kFlushAt) error_ = sink_.Flush();
  if (!error_.ok()) Break();
  return error_;
}

absl::Status ResponseWriter::Write(std::string_view bytes) {
  if (!error_.ok()) return error_;
  if (declared_.has_value() && bytes.size() > *declared_ - written_) {
    Break();
    return error_ = absl::FailedPreconditionError(
               "http: the handler wrote more than the Content-Length it declared");
  }
  written_ += bytes.size();
  if (framing_ == Framing::kUndecided) {
    if (body_.size() + bytes.size() <= kBuffered) {
      body_.append(bytes);
      return absl::OkStatus();
    }
    StartStreaming();
    if (absl::Status s = Emit(body_); !s.ok()) return s;
    body_.clear();
  }
  return Emit(bytes);
}

absl::Status ResponseWriter::Flush() {
  if (!error_.ok()) return error_;
  if (framing_ == Framing::kUndecided) {
    StartStreaming();
    if (absl::Status s = Emit(body_); !s.ok()) return s;
    body_.clear();
  }
  error_ = sink_.Flush();
  if (!error_.ok()) Break();
  return error_;
}

void ResponseWriter::Respond(int status, std::string_view content_type, std::string_view body) {
  if (head_sent_) return;
  fields_.clear();
  body_.clear();
  declared_.reset();
  written_ = 0;
  SetStatus(status);
  if (!content_type.empty()) AddField("Content-Type", content_type);
  Write(body).IgnoreError();  // remembered, and told by Finish
}

absl::Status ResponseWriter::Finish() {
  if (!error_.ok()) {
    // Nothing sent yet: the handler broke its own promise, and the client can still be told.
    if (!head_sent_ && framing_ == Framing::kUndecided) {
      refused_ = true;
      StartStreaming();
      broken_ = false;
    }
    return error_;
  }
  if (declared_.has_value() && !head_request_ && StatusHasBody() && written_ < *declared_) {
    if (!head_sent_) {
      refused_ = true;
      keep_alive_ = false;
    } else {
      Break();
    }
    error_ = absl::FailedPreconditionError(
        "http: the handler wrote less than the Content-Length it declared");
  }
  if (framing_ == Framing::kUndecided) {
    if (refused_ || !StatusHasBody()) {
      StartStreaming();
      return error_;
    }
    // HEAD's length is what GET would send; a handler that wrote nothing for HEAD may declare it.
    AppendHead(declared_.has_value() ? declared_ : std::optional<uint64_t>(body_.size()));
    if (!head_request_) sink_.buffer().append(body_);
    return error_;
  }
  if (framing_ == Framing::kChunked && !broken_) sink_.buffer().append(kLastChunk);
  return error_;
}

}  // namespace plimsoll::http
