#include "plimsoll/container/limits_watcher_thread.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "absl/time/time.h"

namespace plimsoll::container {

LimitsWatcherThread::LimitsWatcherThread(LimitsWatcher* watcher) : watcher_(watcher) {
  stop_ = eventfd(0, EFD_CLOEXEC);
  if (stop_ < 0) return;
  sigset_t all, before;
  sigfillset(&all);
  // The new thread inherits the mask; set it there and no signal slips in before.
  pthread_sigmask(SIG_SETMASK, &all, &before);
  running_ = pthread_create(&thread_, nullptr, Run, this) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (running_) pthread_setname_np(thread_, "plimsoll-limits");
}

LimitsWatcherThread::~LimitsWatcherThread() {
  if (running_) {
    const uint64_t one = 1;
    while (write(stop_, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
    pthread_join(thread_, nullptr);
  }
  if (stop_ >= 0) close(stop_);
}

void* LimitsWatcherThread::Run(void* self) {
  auto* const thread = static_cast<LimitsWatcherThread*>(self);
  const int64_t interval =
      std::clamp<int64_t>(absl::ToInt64Milliseconds(thread->watcher_->interval()), 1, 3'600'000);
  pollfd stop{.fd = thread->stop_, .events = POLLIN, .revents = 0};
  while (poll(&stop, 1, static_cast<int>(interval)) <= 0) thread->watcher_->Poll();
  return nullptr;
}

}  // namespace plimsoll::container
