// RWMutex: runtime/sync/rw_mutex.cc, sema.h and mutex.cc themselves.

#include "plimsoll/runtime/sync/rw_mutex.h"

#include <optional>

#include "gtest/gtest.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"
#include "plimsoll/tests/model/goroutine.h"
#include "plimsoll/tests/model/last_deletes.h"

namespace plimsoll::model {
namespace {

struct Shared {
  RWMutex mu;
  Var<int> guarded{0};
};

// Writers count up, readers look, and one more tries to write without waiting. Var finds two that
// are in together and should not be, and who does not see what the one before did.
Program ReadersAndWriters(int writers, int readers, bool tries) {
  return [=] {
    auto* s = New<Shared>("rw mutex");
    auto* tried = New<Var<int>>("tried", 0);
    for (int i = 0; i < writers; ++i) {
      Goroutine("writer", [=] {
        s->mu.lock();
        s->guarded.Set(s->guarded.Get() + 1);
        s->mu.unlock();
      });
    }
    for (int i = 0; i < readers; ++i) {
      Goroutine("reader", [=] {
        s->mu.lock_shared();
        Check(s->guarded.Get() <= writers + 1, "a count of writers");
        s->mu.unlock_shared();
      });
    }
    if (tries) {
      Goroutine("trier", [=] {
        if (!s->mu.try_lock()) return;
        s->guarded.Set(s->guarded.Get() + 1);
        s->mu.unlock();
        tried->Set(1);
      });
    }
    AtEnd([=] {
      Check(s->guarded.Get() == writers + tried->Get(), "each writer was alone");
      Check(s->mu.try_lock(), "it is free at the end");
    });
  };
}

// The writers tell when they are done; the reader that sees that all are deletes the mutex.
Program LastReaderDeletes(int writers) {
  return [=] {
    struct Owned {
      RWMutex mu;
      Var<int> done{0};
    };
    auto* owned = New<std::optional<Owned>>("owned");
    owned->emplace();
    for (int i = 0; i < writers; ++i) {
      Goroutine("writer", [=] {
        Owned& o = **owned;
        o.mu.lock();
        o.done.Set(o.done.Get() + 1);
        o.mu.unlock();
      });
    }
    Goroutine("reader", [=] {
      Owned& o = **owned;
      o.mu.lock_shared();
      const int done = o.done.Get();
      o.mu.unlock_shared();
      if (done == writers) owned->reset();
    });
    AtEnd([] {});
  };
}

TEST(RWMutexModel, KeepsWritersAloneAndLosesNoWakeUp) {
  const Options two{.search = Search::kBounded, .preemptions = 2};
  ExpectHolds("a writer, a reader", {}, ReadersAndWriters(1, 1, false));
  ExpectHolds("2 writers", {}, ReadersAndWriters(2, 0, false));
  ExpectHolds("2 writers, a reader, 2 preemptions", two, ReadersAndWriters(2, 1, false));
  ExpectHolds("a writer, 2 readers, 2 preemptions", two, ReadersAndWriters(1, 2, false));
  ExpectHolds("a writer, a reader, one tries, 2 preemptions", two, ReadersAndWriters(1, 1, true));
  ExpectHolds("3 writers, 2 readers, random",
              {.search = Search::kRandom, .executions = SearchFar() ? 1'000'000u : 20'000u},
              ReadersAndWriters(3, 2, true));
  if (SearchFar()) {
    const Options three{.search = Search::kBounded, .preemptions = 3};
    ExpectHolds("2 writers, a reader, 3 preemptions", three, ReadersAndWriters(2, 1, false));
    ExpectHolds("2 writers, 2 readers, 2 preemptions", two, ReadersAndWriters(2, 2, false));
  }
}

TEST(RWMutexModel, TheLastReaderMayDeleteIt) {
  ExpectHolds("a writer, the reader deletes", {}, LastReaderDeletes(1));
  ExpectHolds("2 writers, the reader deletes, 2 preemptions",
              {.search = Search::kBounded, .preemptions = 2}, LastReaderDeletes(2));
  ExpectHolds("2 writers, the last deletes", {}, LastOneDeletes<RWMutex>(2));
  ExpectHolds("3 writers, the last deletes, 2 preemptions",
              {.search = Search::kBounded, .preemptions = 2}, LastOneDeletes<RWMutex>(3));
}

TEST(RWMutexModel, FindsEachPlantedFault) {
  const Options random{.search = Search::kRandom, .executions = 1'000'000};
  ExpectFinds("a writer, a reader", "unlock_shared: no release", {},
              ReadersAndWriters(1, 1, false));
  ExpectFinds("a writer, a reader", "unlock: no release", {}, ReadersAndWriters(1, 1, false));
  ExpectFinds("a writer, the reader deletes", "unlock: one look too many", {},
              LastReaderDeletes(1));
  ExpectFinds("2 writers", "two writers at once", {}, ReadersAndWriters(2, 0, false));
  ExpectFinds("3 writers, 2 readers", "the next writer does not wait for the readers before it",
              random, ReadersAndWriters(3, 2, false));
  ExpectFinds("3 writers, 2 readers", "readers let in are not counted", random,
              ReadersAndWriters(3, 2, false));
}

}  // namespace
}  // namespace plimsoll::model
