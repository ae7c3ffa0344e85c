#include "plimsoll/runtime/http/request_parser.h"

#include <cstring>
#include <limits>

#include "plimsoll/runtime/http/char_class.h"

namespace plimsoll::http {
namespace {

using Result = RequestParser::Result;

constexpr size_t kMaxMethod = 32;  // the longest registered one has 17

constexpr Result kGoOn{RequestParser::kNeedMore, 0, nullptr, 0};

constexpr Result Bad(int status, const char* reason) {
  return {RequestParser::kBad, status, reason, 0};
}

// The whole of `text` as a decimal number; false if it is anything else or does not fit.
bool ParseDecimal(std::string_view text, uint64_t& value) {
  if (text.empty()) return false;
  value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    if (value > (std::numeric_limits<uint64_t>::max() - digit) / 10) return false;
    value = value * 10 + digit;
  }
  return true;
}

bool AllAre(std::string_view text, CharClass wanted) {
  for (const char c : text) {
    if (!Is(c, wanted)) return false;
  }
  return true;
}

void SplitQuery(std::string_view target, RequestHead& head) {
  const size_t mark = target.find('?');
  head.path = target.substr(0, mark);
  head.query = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
}

// RFC 9112 3.2: which of the four forms the target has.
Result ParseTarget(std::string_view target, RequestHead& head) {
  head.target = target;
  if (target.front() == '/') {
    SplitQuery(target, head);
    return kGoOn;
  }
  if (head.method == "CONNECT") {
    if (!AllAre(target, kHostChar)) return Bad(400, "CONNECT wants host:port");
    head.host = target;
    return kGoOn;
  }
  if (target == "*") {
    if (head.method != "OPTIONS") return Bad(400, "only OPTIONS may have the target *");
    head.path = target;
    return kGoOn;
  }
  const size_t scheme = target.find("://");
  if (scheme == std::string_view::npos ||
      !(EqualsIgnoringCase(target.substr(0, scheme), "http") ||
        EqualsIgnoringCase(target.substr(0, scheme), "https"))) {
    return Bad(400, "the request target is not a path");
  }
  const std::string_view rest = target.substr(scheme + 3);
  const size_t end = rest.find_first_of("/?");
  head.host = rest.substr(0, end);
  if (head.host.empty() || !AllAre(head.host, kHostChar)) {
    return Bad(400, "the request target has no valid host");
  }
  SplitQuery(end == std::string_view::npos ? std::string_view() : rest.substr(end), head);
  if (head.path.empty()) head.path = "/";
  return kGoOn;
}

}  // namespace

Result RequestParser::Parse(std::string_view input, RequestHead& head) {
  // RFC 9112 2.2: an empty line before the request line is forgiven; two are, like nginx does.
  size_t start = 0;
  while (start < 4 && input.substr(start, 2) == "\r\n") start += 2;
  if (line_start_ < start) line_start_ = start;

  // Find the empty line first; the fields are parsed when all are here.
  size_t end = 0;
  while (end == 0) {
    const size_t room =
        input.size() < limits_.max_head_bytes ? input.size() : limits_.max_head_bytes;
    if (line_start_ >= room) break;
    const void* found = std::memchr(input.data() + line_start_, '\n', room - line_start_);
    if (found == nullptr) break;
    const size_t at = static_cast<size_t>(static_cast<const char*>(found) - input.data());
    if (at == line_start_ || input[at - 1] != '\r') return Bad(400, "a line does not end in CRLF");
    if (at == line_start_ + 1) {
      if (line_start_ == start) return Bad(400, "empty lines where a request was expected");
      end = at + 1;
    }
    line_start_ = at + 1;
  }
  if (end == 0) {
    // What cannot become a request is told so at once and not at the timeout: TLS, noise.
    const std::string_view method = input.substr(start, input.find(' ', start) - start);
    for (const char c : method) {
      if (!Is(c, kTokenChar) && c != '\r') return Bad(400, "this is not an HTTP request");
    }
    if (method.size() > kMaxMethod) return Bad(400, "the method is too long");
    if (input.size() >= limits_.max_head_bytes) {
      return line_start_ == start ? Bad(414, "the request line is too long")
                                  : Bad(431, "the header fields are too large");
    }
    return kGoOn;
  }

  // Reuse: the caller's head may hold an earlier request.
  Fields fields = std::move(head.fields);
  fields.Clear();
  head = RequestHead();
  head.fields = std::move(fields);

  std::string_view rest = input.substr(start, end - 2 - start);  // ends in the last line's CRLF
  bool first = true;
  while (!rest.empty()) {
    const size_t at = rest.find('\n');
    const std::string_view line = rest.substr(0, at - 1);
    rest = rest.substr(at + 1);
    const Result r = first ? ParseRequestLine(line, head) : ParseField(line, head);
    if (r.state == kBad) return r;
    first = false;
  }
  const Result r = Interpret(head);
  if (r.state == kBad) return r;
  return {kDone, 0, nullptr, end};
}

Result RequestParser::ParseRequestLine(std::string_view line, RequestHead& head) const {
  const size_t first = line.find(' ');
  if (first == std::string_view::npos) return Bad(400, "the request line has no target");
  head.method = line.substr(0, first);
  if (!IsToken(head.method)) return Bad(400, "the method is not a token");
  if (head.method.size() > kMaxMethod) return Bad(400, "the method is too long");

  const std::string_view rest = line.substr(first + 1);
  const size_t second = rest.find(' ');
  if (second == std::string_view::npos) return Bad(400, "the request line has no version");
  const std::string_view target = rest.substr(0, second);
  const std::string_view version = rest.substr(second + 1);

  // The version before the target: "PRI * HTTP/2.0" deserves 505.
  constexpr std::string_view kName = "HTTP/";
  if (version.size() != 8 || version.substr(0, 5) != kName || version[6] != '.' ||
      version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9') {
    return Bad(400, "the version is malformed");
  }
  if (version[5] != '1') return Bad(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  head.minor_version = version[7] == '0' ? 0 : 1;

  if (target.empty()) return Bad(400, "the request target is empty");
  if (target.size() > limits_.max_target_bytes) return Bad(414, "the request target is too long");
  if (!AllAre(target, kTargetChar)) return Bad(400, "the request target has a forbidden character");
  return ParseTarget(target, head);
}

Result RequestParser::ParseField(std::string_view line, RequestHead& head) const {
  if (line.front() == ' ' || line.front() == '\t') return Bad(400, "a header field is folded");
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return Bad(400, "a header field has no colon");
  const std::string_view name = line.substr(0, colon);
  // A blank before the colon is no token character: refused, as RFC 9112 5.1 demands.
  if (!IsToken(name)) return Bad(400, "a header field's name is not a token");

  std::string_view value = line.substr(colon + 1);
  const size_t begin = value.find_first_not_of(" \t");
  value = begin == std::string_view::npos
              ? std::string_view()
              : value.substr(begin, value.find_last_not_of(" \t") - begin + 1);
  if (!IsFieldValue(value)) return Bad(400, "a header field has a forbidden character");
  if (head.fields.size() >= limits_.max_fields) return Bad(431, "there are too many header fields");
  head.fields.Add(name, value);
  return kGoOn;
}

// The fields that say where this request ends and whether another follows.
Result RequestParser::Interpret(RequestHead& head) const {
  int hosts = 0, lengths = 0, encodings = 0;
  bool close = false, keep = false;
  std::string_view host, encoding;
  for (const Field& field : head.fields) {
    switch (field.name.size()) {
      case 4:
        if (EqualsIgnoringCase(field.name, "host")) ++hosts, host = field.value;
        break;
      case 6:
        if (EqualsIgnoringCase(field.name, "expect")) {
          if (!EqualsIgnoringCase(field.value, "100-continue")) {
            return Bad(417, "only 100-continue can be expected");
          }
          head.expect_continue = head.minor_version >= 1;  // RFC 9110 10.1.1: ignored in 1.0
        }
        break;
      case 10:
        if (EqualsIgnoringCase(field.name, "connection")) {
          ForEachListElement(field.value, [&](std::string_view option) {
            if (EqualsIgnoringCase(option, "close")) close = true;
            if (EqualsIgnoringCase(option, "keep-alive")) keep = true;
          });
        }
        break;
      case 14:
        if (EqualsIgnoringCase(field.name, "content-length")) {
          ++lengths;
          if (!ParseDecimal(field.value, head.content_length)) {
            return Bad(400, "Content-Length is not a number");
          }
        }
        break;
      case 17:
        if (EqualsIgnoringCase(field.name, "transfer-encoding"))
          ++encodings, encoding = field.value;
        break;
      default:
        break;
    }
  }

  if (hosts > 1) return Bad(400, "there is more than one Host");
  if (hosts == 0 && head.minor_version >= 1) return Bad(400, "there is no Host");
  if (hosts == 1) {
    if (!AllAre(host, kHostChar)) return Bad(400, "Host is not a host");
    if (head.host.empty()) head.host = host;  // an absolute target goes first (RFC 9112 3.2.2)
  }

  if (lengths > 1) return Bad(400, "there is more than one Content-Length");
  if (encodings > 1) return Bad(400, "there is more than one Transfer-Encoding");
  if (encodings == 1) {
    if (lengths == 1) return Bad(400, "there are both Content-Length and Transfer-Encoding");
    if (head.minor_version == 0) return Bad(400, "HTTP/1.0 has no Transfer-Encoding");
    int chunked = 0, others = 0;
    bool chunked_last = false;
    ForEachListElement(encoding, [&](std::string_view coding) {
      chunked_last = EqualsIgnoringCase(coding, "chunked");
      chunked_last ? ++chunked : ++others;
    });
    if (chunked != 1 || !chunked_last) {
      // Not chunked last, the end of the body cannot be found; named but unknown codings are 501.
      return chunked == 0 && others > 0 ? Bad(501, "the transfer coding is not known here")
                                        : Bad(400, "chunked is not the last transfer coding");
    }
    if (others > 0) return Bad(501, "the transfer coding is not known here");
    head.framing = BodyFraming::kChunked;
  } else if (lengths == 1) {
    if (head.content_length > limits_.max_body_bytes) return Bad(413, "the body is too large");
    if (head.content_length > 0) head.framing = BodyFraming::kLength;
  }
  if (head.framing == BodyFraming::kNone) head.expect_continue = false;

  head.keep_alive = head.minor_version >= 1 ? !close : keep && !close;
  return kGoOn;
}

}  // namespace plimsoll::http
