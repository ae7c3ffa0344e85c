// A WaitGroup waits until a number of things are done.
//
//   WaitGroup wg;
//   for (Job& job : jobs) wg.Go([&job] { Run(job); });
//   wg.Wait();
//
// Blocking:  Wait parks the goroutine while the count is above zero. Add and Done never park.
// Threads:   any. Add with a positive number must come before the Wait that is to see it, unless
//            the count is already above zero.
// Ordering:  what precedes a Done is visible after the Wait that it lets go on.
// Lifetime:  may be reused, or destroyed, once every Wait has returned.
//            What a function given to Go holds is destroyed before it is counted as ended: it must
//            not hold the last handle to this WaitGroup, nor Wait for it in a destructor.
// Misuse:    a count below zero, Add beside a Wait that found zero, and reuse before the last Wait
//            has returned panic with Go's text; so does Go's goroutine where f is nil.
#ifndef PLIMSOLL_RUNTIME_SYNC_WAIT_GROUP_H_
#define PLIMSOLL_RUNTIME_SYNC_WAIT_GROUP_H_

#include <atomic>
#include <concepts>
#include <cstdint>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "plimsoll/alloc/base/intrusive_list.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/nil.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll {

class WaitGroup {
 public:
  WaitGroup() = default;
  WaitGroup(const WaitGroup&) = delete;
  WaitGroup& operator=(const WaitGroup&) = delete;

  void Add(int delta, std::source_location where = std::source_location::current());
  void Done(std::source_location where = std::source_location::current()) { Add(-1, where); }
  void Wait(std::source_location where = std::source_location::current());

  // Runs f() on a new goroutine, and counts it until f has ended and is destroyed with all it
  // holds.
  template <std::invocable F>
  void Go(F&& f, std::source_location where = std::source_location::current()) {
    using Fn = std::decay_t<F>;
    auto task = [this, where, f = std::optional<Fn>(std::in_place, std::forward<F>(f))]() mutable {
      struct DoneAtEnd {
        WaitGroup* wg;
        std::optional<Fn>& f;
        ~DoneAtEnd() {
          f.reset();
          wg->Done();
        }
      } done{this, f};
      if (internal::IsNil(*f)) [[unlikely]]
        internal::PanicOfNil(where);
      (*std::move(f))();
    };
    Add(1, where);
    try {
      plimsoll::Go(std::move(task));
    } catch (...) {  // a move of f's
      Done();
      throw;
    }
  }

 private:
  struct Waiter {
    sched::G* g;
    base::ListLink link;
  };

  using Queue = base::IntrusiveList<Waiter, &Waiter::link>;

  // The count in the upper half, the number of goroutines in Wait in the lower: one word, so that
  // the last Done and a Wait agree on who comes first. The lower half grows under queue_mu_ only.
  std::atomic<uint64_t> state_{0};
  base::SpinLock queue_mu_;
  Queue queue_;  // guarded by queue_mu_
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SYNC_WAIT_GROUP_H_
