#include "plimsoll/runtime/http/server.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/net/accept_loop.h"
#include "plimsoll/runtime/net/conn.h"

namespace plimsoll::http {
namespace {

constexpr absl::Duration kBetweenLooks = absl::Milliseconds(25);  // a look may cost some ms

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
  Session(net::Conn c, const std::atomic<ServerStage>& stage) : conn(std::move(c)), state(stage) {}
  net::Conn conn;
  ConnectionState state;
};

Server::Server(Handler handler, ServerOptions options)
    : handler_(std::move(handler)), options_(options) {}

Server::~Server() {
  Shutdown(absl::ZeroDuration()).IgnoreError();
  inside_.WaitUntilEmpty(absl::InfiniteDuration());
}

void Server::Serve(const net::Listener& listener) {
  inside_.Enter();
  accepting_.Enter();
  bool serve;
  {
    base::MutexLock hold(mu_);
    serve = stage_.load(std::memory_order_seq_cst) == ServerStage::kServing;
    if (serve) listeners_.push_back(listener);
  }
  if (serve) {
    net::AcceptLoop(listener, [this](net::Conn conn) { Accepted(std::move(conn)); });
  } else {
    listener.Close().IgnoreError();  // or clients would wait in its queue for nobody
  }
  accepting_.Leave();
  inside_.Leave();
}

void Server::Accepted(net::Conn conn) {
  if (count_.load(std::memory_order_relaxed) >= options_.max_connections) {
    conn.Write(kFull).IgnoreError();  // the last Conn closes
    return;
  }
  auto session = std::make_unique<Session>(std::move(conn), stage_);
  inside_.Enter();
  count_.fetch_add(1, std::memory_order_relaxed);
  {
    base::MutexLock hold(mu_);
    sessions_.insert(session.get());
  }
  Session* const session_ptr = session.get();
  auto run = [this, session = std::move(session)]() mutable {
    RunSession(*session);
    session.reset();  // closes the connection, if no handler has kept it
    inside_.Leave();
  };
  if (!TryGo(std::move(run), {.stack = options_.stack, .label = "http"})) {
    // The closure is untouched, and with it the connection ends at the end of this scope.
    base::RawLog("plimsoll: http: no memory for a goroutine; a connection was closed");
    Forget(*session_ptr);
    inside_.Leave();
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

// Closes every listener, and returns when nothing more is accepted. Without losing a connection
// that the kernel has taken, unless the deadline leaves no time for that.
void Server::EndListeners(absl::Time deadline) {
  std::vector<net::Listener> listeners;
  {
    base::MutexLock hold(mu_);
    listeners.swap(listeners_);
  }
  const auto left = [deadline] { return deadline - absl::Now(); };
  if (!listeners.empty() && left() > absl::ZeroDuration()) {
    for (const net::Listener& l : listeners) l.StopHandshakes().IgnoreError();
    // Ends early only if the listeners were closed by somebody else. Who is half in does not take
    // the time of those that are in.
    bool closed = accepting_.WaitUntilEmpty(std::min(options_.handshake, left() / 2));
    const absl::Time latest = absl::Now() + std::min(options_.late_handshake, left() / 2);
    while (!closed && absl::Now() < latest && absl::c_any_of(listeners, [](const net::Listener& l) {
      return l.HandshakesHalfDone();
    })) {
      closed = accepting_.WaitUntilEmpty(kBetweenLooks);
    }
    for (const net::Listener& l : listeners) l.EndQueue().IgnoreError();
    accepting_.WaitUntilEmpty(left());
  }
  for (const net::Listener& l : listeners) l.Close().IgnoreError();
}

absl::Status Server::Shutdown(absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  {
    base::MutexLock hold(mu_);  // by it, no Serve comes in between the stage and the listeners
    if (stage_.load(std::memory_order_seq_cst) == ServerStage::kServing) {
      stage_.store(ServerStage::kParting, std::memory_order_seq_cst);
    }
  }
  EndListeners(deadline);
  std::vector<net::Conn> idle;
  {
    base::MutexLock hold(mu_);
    stage_.store(ServerStage::kDraining, std::memory_order_seq_cst);
    // After the stage is set: connection_state.h tells why none is missed.
    for (Session* session : sessions_) {
      if (session->state.InterruptIdle()) idle.push_back(session->conn);
    }
  }
  for (const net::Conn& conn : idle) conn.SetReadTimeout(absl::ZeroDuration());
  if (inside_.WaitUntilEmpty(deadline - absl::Now())) return absl::OkStatus();

  std::vector<net::Conn> late;
  {
    base::MutexLock hold(mu_);
    for (Session* session : sessions_) late.push_back(session->conn);
  }
  for (const net::Conn& conn : late) conn.Close().IgnoreError();
  return absl::DeadlineExceededError(absl::StrCat(
      "http: ", late.size(), late.size() == 1 ? " connection was" : " connections were",
      " cut off after ", absl::FormatDuration(patience)));
}

}  // namespace plimsoll::http
