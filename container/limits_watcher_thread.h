// A LimitsWatcherThread polls a LimitsWatcher from a thread of its own, for programs without a
// loop.
//
//   LimitsWatcher watcher({.on_change = Resize});
//   LimitsWatcherThread thread(&watcher);        // until `thread` is destroyed
//
// Threads:  while it runs, the watcher is its own: nobody else may touch it. Callbacks run on it.
// Ordering: destruction waits until a callback that runs has returned.
// Signals:  all are blocked on this thread, so that the program's handlers run elsewhere.
// Failure:  ok() is false where no thread could be made (pids.max): then nothing is followed.
#ifndef PLIMSOLL_CONTAINER_LIMITS_WATCHER_THREAD_H_
#define PLIMSOLL_CONTAINER_LIMITS_WATCHER_THREAD_H_

#include <pthread.h>

#include "plimsoll/container/limits_watcher.h"

namespace plimsoll::container {

class LimitsWatcherThread {
 public:
  explicit LimitsWatcherThread(LimitsWatcher* watcher);
  ~LimitsWatcherThread();
  LimitsWatcherThread(const LimitsWatcherThread&) = delete;
  LimitsWatcherThread& operator=(const LimitsWatcherThread&) = delete;

  bool ok() const { return running_; }

 private:
  static void* Run(void* self);

  LimitsWatcher* const watcher_;
  int stop_ = -1;  // an eventfd; readable: end
  pthread_t thread_ = {};
  bool running_ = false;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_LIMITS_WATCHER_THREAD_H_
