// A program of locks: the last to leave deletes the lock.
#ifndef PLIMSOLL_TESTS_MODEL_LAST_DELETES_H_
#define PLIMSOLL_TESTS_MODEL_LAST_DELETES_H_

#include <optional>

#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/goroutine.h"

namespace plimsoll::model {

// `users` goroutines share what the last of them to leave deletes, the lock in it: nothing of a
// lock is touched by who has let go of it and is not needed by those who wait.
template <typename Mu>
Program LastOneDeletes(int users) {
  return [=] {
    struct Owned {
      explicit Owned(int n) : users(n) {}
      Mu mu;
      Var<int> users;
    };
    auto* owned = New<std::optional<Owned>>("owned");
    owned->emplace(users);
    for (int i = 0; i < users; ++i) {
      Goroutine("user", [=] {
        Owned& o = **owned;
        o.mu.lock();
        const int left = o.users.Get() - 1;
        o.users.Set(left);
        o.mu.unlock();
        if (left == 0) owned->reset();
      });
    }
    AtEnd([=] { Check(!owned->has_value(), "the last one deleted it"); });
  };
}

}  // namespace plimsoll::model

#endif  // PLIMSOLL_TESTS_MODEL_LAST_DELETES_H_
