// A service whose requests are collected: what a handler builds for one of them, parts that point
// to each other and back, is freed by nobody, and gone soon after.
#include <array>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/function.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/http/request.h"
#include "plimsoll/runtime/http/response_writer.h"
#include "plimsoll/runtime/http/router.h"
#include "plimsoll/runtime/http/server.h"
#include "plimsoll/runtime/net/address.h"
#include "plimsoll/runtime/net/conn.h"
#include "plimsoll/runtime/net/listener.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace gc = plimsoll::gc;
namespace http = plimsoll::http;
namespace net = plimsoll::net;

namespace {

std::atomic<int64_t> terms_made{0};

// A term of "2*(3+4)". It knows what it is a part of, and how to find its value: the function holds
// the term that it is a member of.
struct Term {
  gc::Ptr<Term> left, right, whole;
  gc::function<int64_t()> value;
  GC_FIELDS(Term, left, right, whole, value);
};

Term* Number(int64_t n) {
  ++terms_made;
  Term* term = gc::make<Term>();
  term->value = [n] { return n; };
  return term;
}

Term* Join(char op, Term* left, Term* right) {
  ++terms_made;
  Term* term = gc::make<Term>();
  term->left = left;
  term->right = right;
  left->whole = right->whole = term;
  term->value = [term, op] {  // a plain pointer: what a gc::function captured is looked at
    const int64_t a = term->left->value(), b = term->right->value();
    return op == '+' ? a + b : a * b;
  };
  return term;
}

// sum: product {'+' product}. product: factor {'*' factor}. factor: digit {digit} | '(' sum ')'.
// Null: it is none.
class Parser {
 public:
  static Term* Parse(std::string_view text) {
    Parser parser(text);
    Term* term = parser.List('+');
    return parser.text_.empty() ? term : nullptr;
  }

 private:
  explicit Parser(std::string_view text) : text_(text) {}

  bool Take(char c) {
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  Term* List(char op) {
    Term* term = op == '+' ? List('*') : Factor();
    while (term != nullptr && Take(op)) {
      Term* next = op == '+' ? List('*') : Factor();
      term = next == nullptr ? nullptr : Join(op, term, next);
    }
    return term;
  }
  Term* Factor() {
    if (Take('(')) {
      if (++depth_ > 50) return nullptr;  // each is a frame or three of this goroutine's stack
      Term* term = List('+');
      --depth_;
      return term != nullptr && Take(')') ? term : nullptr;
    }
    int64_t n = 0;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), n);
    if (error != std::errc() || n < 0) return nullptr;
    text_.remove_prefix(static_cast<size_t>(end - text_.data()));
    return Number(n);
  }

  std::string_view text_;
  int depth_ = 0;
};

void Answer(http::Request& request, http::ResponseWriter& response) {
  const absl::StatusOr<std::string> text = request.ReadAll();
  Term* term = text.ok() ? Parser::Parse(*text) : nullptr;
  if (term == nullptr) return response.Respond(400, "text/plain", "not a sum\n");
  response.Respond(200, "text/plain", absl::StrCat(term->value(), "\n"));
}

// What a client sees of one exchange: the body.
std::string Ask(const net::Address& server, const std::string& sum) {
  const absl::StatusOr<net::Conn> conn = net::Dial(server);
  if (!conn.ok()) return conn.status().ToString();
  const absl::Status asked =
      conn->Write(absl::StrCat("POST /sum HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
                               "Content-Length: ", sum.size(), "\r\n\r\n", sum));
  if (!asked.ok()) return asked.ToString();
  std::string answer;
  std::array<char, 512> buffer;
  while (true) {
    const absl::StatusOr<size_t> n = conn->Read(buffer);
    if (!n.ok()) return n.status().ToString();
    if (*n == 0) break;
    answer.append(buffer.data(), *n);
  }
  const size_t end = answer.find("\r\n\r\n");
  return end == answer.npos ? absl::StrCat("no HTTP: ", answer) : answer.substr(end + 4);
}

}  // namespace

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    const absl::StatusOr<net::Listener> listener = net::Listen(*net::Address::Parse("127.0.0.1:0"));
    if (!listener.ok()) {
      std::fprintf(stderr, "collected_requests: %s\n", listener.status().ToString().c_str());
      return 1;
    }
    http::Router router;
    router.Handle("POST /sum", Answer);
    http::Server server(std::move(router).Build());
    plimsoll::WaitGroup serving;
    serving.Go([&] { server.Serve(*listener); });

    const net::Address at = listener->address();
    for (const std::string sum : {"1+2*3", "2*(3+4)", "(1+2", "7"}) {
      std::printf("%s = %s", sum.c_str(), Ask(at, sum).c_str());
    }
    std::string long_sum = "1";
    for (int n = 2; n <= 100; ++n) absl::StrAppend(&long_sum, "+", n);
    int right = 0;
    for (int i = 0; i < 50; ++i) right += Ask(at, long_sum) == "5050\n";
    std::printf("1+2+...+100 asked 50 times, right: %d\n", right);

    const absl::Status drained = server.Shutdown(/*patience=*/absl::Seconds(60));
    serving.Wait();
    std::printf("drained: %s\n", drained.ToString().c_str());
    gc::Collect();
    // A stale word on some stack may keep a request or two, of 199 terms each.
    const bool few = gc::GetStats().live_objects < 2000;
    std::printf("terms made: %s; alive: %s\n", terms_made > 9'900 ? "10,000" : "too few",
                few ? "few, or none" : "too many");
    return 0;
  });
}
