#include "plimsoll/runtime/http/server.h"

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/net/accept_loop.h"
#include "plimsoll/runtime/net/conn.h"

namespace plimsoll::http {
namespace {

constexpr std::string_view kFull =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

class ConnStream final : public Stream {
 public:
  explicit ConnStream(const net::Conn& conn) : conn_(conn) {}
  absl::StatusOr<size_t> Read(std::span<char> buffer) override { return conn_.Read(buffer); }
  absl::Status AwaitReadable() override { return conn_.AwaitReadable(); }
  absl::Status Write(std::string_view bytes) override { return conn_.Write(bytes); }
  void SetReadTimeout(absl::Duration timeout) override { conn_.SetReadTimeout(timeout); }
  void SetWriteTimeout(absl::Duration timeout) override { conn_.SetWriteTimeout(timeout); }
  absl::Status CloseWrite() override { return conn_.CloseWrite(); }

 private:
  const net::Conn& conn_;
};

}  // namespace

struct Server::Session {
  Session(net::Conn c, const std::atomic<bool>& draining) : conn(std::move(c)), state(draining) {}
  net::Conn conn;
  ConnectionState state;
};

Server::Server(Handler handler, ServerOptions options)
    : handler_(std::move(handler)), options_(options) {}

Server::~Server() {
  Shutdown(absl::ZeroDuration()).IgnoreError();
  WaitUntilNobodyIsLeft(absl::InfiniteDuration());
}

void Server::Leave() {
  // A handle of our own: after the count has fallen, the server may be gone.
  const Channel<bool> drained = drained_;
  // acq_rel: who sees zero sees all that the leavers did
  if (active_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    bool value = true;
    // Full: the news is there already.
    [[maybe_unused]] const bool told = drained.TrySend(value);
  }
}

bool Server::WaitUntilNobodyIsLeft(absl::Duration at_most) {
  const absl::Time deadline = absl::Now() + at_most;
  // seq_cst: with draining_ in Serve and Accepted; who entered before it was set is counted here.
  while (active_.load(std::memory_order_seq_cst) > 0) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    // The value may be of an earlier zero: the loop looks again.
    [[maybe_unused]] const auto told = drained_.TryRecvFor(left);
  }
  return true;
}

void Server::Serve(const net::Listener& listener) {
  active_.fetch_add(1, std::memory_order_seq_cst);
  bool serve;
  {
    base::MutexLock hold(mu_);
    serve = !draining_.load(std::memory_order_seq_cst);
    if (serve) listeners_.push_back(listener);
  }
  if (serve) {
    net::AcceptLoop(listener, [this](net::Conn conn) { Accepted(std::move(conn)); });
  }
  Leave();
}

void Server::Accepted(net::Conn conn) {
  if (count_.load(std::memory_order_relaxed) >= options_.max_connections) {
    conn.Write(kFull).IgnoreError();  // the last Conn closes
    return;
  }
  auto session = std::make_unique<Session>(std::move(conn), draining_);
  active_.fetch_add(1, std::memory_order_seq_cst);
  count_.fetch_add(1, std::memory_order_relaxed);
  {
    base::MutexLock hold(mu_);
    sessions_.insert(session.get());
  }
  Session* const session_ptr = session.get();
  auto run = [this, session = std::move(session)]() mutable {
    RunSession(*session);
    session.reset();  // closes the connection, if no handler has kept it
    Leave();
  };
  if (!TryGo(std::move(run), {.stack = options_.stack, .label = "http"})) {
    // The closure is untouched, and with it the connection ends at the end of this scope.
    base::RawLog("plimsoll: http: no memory for a goroutine; a connection was closed");
    Forget(*session_ptr);
    Leave();
  }
}

void Server::RunSession(Session& session) {
  ConnStream stream(session.conn);
  ServeConnection(stream, session.state, handler_, options_.limits);
  Forget(session);
  session.conn.Close().IgnoreError();  // may have been cut off
}

void Server::Forget(Session& session) {
  base::MutexLock hold(mu_);
  sessions_.erase(&session);
  count_.fetch_sub(1, std::memory_order_relaxed);
}

absl::Status Server::Shutdown(absl::Duration deadline) {
  std::vector<net::Listener> listeners;
  std::vector<net::Conn> idle;
  {
    base::MutexLock hold(mu_);
    draining_.store(true, std::memory_order_seq_cst);
    listeners.swap(listeners_);
    // After draining_ is set: connection_state.h tells why none is missed.
    for (Session* session : sessions_) {
      if (session->state.InterruptIdle()) idle.push_back(session->conn);
    }
  }
  for (const net::Listener& listener : listeners) listener.Close().IgnoreError();
  for (const net::Conn& conn : idle) conn.SetReadTimeout(absl::ZeroDuration());
  if (WaitUntilNobodyIsLeft(deadline)) return absl::OkStatus();

  std::vector<net::Conn> late;
  {
    base::MutexLock hold(mu_);
    for (Session* session : sessions_) late.push_back(session->conn);
  }
  for (const net::Conn& conn : late) conn.Close().IgnoreError();
  return absl::DeadlineExceededError(absl::StrCat(
      "http: ", late.size(), " connections were cut off after ", absl::FormatDuration(deadline)));
}

}  // namespace plimsoll::http
