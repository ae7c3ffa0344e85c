// A TaskLocal is a key: each goroutine has its own value for it, or its maker's, or none.
//
//   inline constinit TaskLocal<std::string> request_id;      // the key: a variable at namespace
//   scope request_id.Set("r-17"); Go([] { Log(*request_id.Get()); });                      //
//   "r-17" { TaskLocal<int>::Scope slow(priority, 2); Serve(); }    // as before after it
//
// Values:    never change; Set puts another in place. Go gives the new goroutine what its maker has
//            at that moment; a later Set of either is not seen by the other. Both share the one
//            value, so T's const functions must be safe from two threads.
// Lifetime:  what Get points to lives until this goroutine sets the key again or ends. The last
//            goroutine that has a value destroys it.
// Threads:   a foreign thread has none: Get is null there, Set is fatal.
// Cost:      Go without values: one load. Get walks the keys that are set.
// Not for:   cancellation and deadlines: Context is passed by hand, so that it is seen.
#ifndef PLIMSOLL_RUNTIME_TASK_LOCAL_H_
#define PLIMSOLL_RUNTIME_TASK_LOCAL_H_

#include <memory>
#include <utility>

#include "plimsoll/runtime/sched/locals.h"

namespace plimsoll {

template <typename T>
class TaskLocal {
 public:
  constexpr TaskLocal() = default;
  TaskLocal(const TaskLocal&) = delete;
  TaskLocal& operator=(const TaskLocal&) = delete;

  // The current goroutine's value; null: it has none.
  const T* Get() const { return static_cast<const T*>(sched::FindLocal(this)); }

  void Set(T value) const { sched::SetLocal(this, std::make_shared<const T>(std::move(value))); }
  void Clear() const { sched::SetLocal(this, nullptr); }

  // Has a value for as long as it lives, and what was before afterwards.
  class [[nodiscard]] Scope {
   public:
    Scope(const TaskLocal& key, T value) : key_(key), before_(sched::ShareLocal(&key)) {
      key.Set(std::move(value));
    }
    ~Scope() { sched::SetLocal(&key_, std::move(before_)); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    const TaskLocal& key_;
    std::shared_ptr<const void> before_;
  };

 private:
  char address_ = 0;  // what tells two keys apart
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_TASK_LOCAL_H_
