// An IdleSource is where a P with nothing to run looks, and where the last idle M waits.
//
//   class Poller : public sched::IdleSource { ... };       // runtime/netpoll
//   sched::SetIdleSource(&poller);                         // runtime/runtime.cc, before any Go()
//
// Threads:   Poll is called by one M at a time for a blocking poll (the scheduler sees to that),
//            and by any number of Ms at once with wait_ns == 0. Break may be called from any
//            thread.
// Preemption: both are called with preemption off, on a system stack: no malloc, no lock that user
//            code can hold.
#ifndef PLIMSOLL_RUNTIME_SCHED_IDLE_SOURCE_H_
#define PLIMSOLL_RUNTIME_SCHED_IDLE_SOURCE_H_

#include <cstdint>

namespace plimsoll::sched {

struct G;

// Goroutines handed over in a chain, oldest first. A G is in at most one list or queue.
class GList {
 public:
  bool empty() const { return head_ == nullptr; }
  int size() const { return size_; }
  void PushBack(G* g);
  void PushFront(G* g);
  G* PopFront();
  // Behind those at the front that stay ahead of g.
  void PushBehind(G* g, bool (*stays_ahead)(const G* other, const G* g));
  // The first for which `wanted` is true, among the first `among`; null: none of them.
  G* PopFirst(bool (*wanted)(const G*), int among);
  G* front() const { return head_; }
  G* back() const { return tail_; }

 private:
  G* head_ = nullptr;
  G* tail_ = nullptr;
  int size_ = 0;
};

class IdleSource {
 public:
  virtual ~IdleSource() = default;

  // Adds the goroutines that became runnable to `ready`. wait_ns: 0 looks and returns, > 0 waits at
  // most so long, < 0 waits until there is one or Break is called.
  virtual void Poll(int64_t wait_ns, GList& ready) = 0;

  // Makes a blocked Poll return soon; a Break with nobody in Poll makes the next blocking one
  // return.
  virtual void Break() = 0;

  // True while a goroutine waits here: then something outside may wake it, and there is no
  // deadlock.
  virtual bool HasWaiters() const = 0;
};

// Replaces the scheduler's own source, which only waits. Call before the scheduler starts. The
// source is never destroyed: threads look there while the process ends, so it must not be a static
// with a destructor.
void SetIdleSource(IdleSource* source);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_IDLE_SOURCE_H_
