#include "plimsoll/runtime/sync/pool_shelves.h"

#include <mutex>
#include <utility>

#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/cond.h"
#include "plimsoll/runtime/sync/mutex.h"

namespace plimsoll {
namespace internal {

struct PoolShelves::Registry {
  Mutex mu;
  Cond aged;                                                    // a pool's ageing_ came to zero
  uint64_t round = 0;                                           // guarded by mu, as is pools
  base::IntrusiveList<PoolShelves, &PoolShelves::link_> pools;  // the one aged last at the end
};

// Never destroyed: pools may outlive static destructors.
PoolShelves::Registry& PoolShelves::AllPools() {
  static Registry* registry = new Registry;
  return *registry;
}

namespace {

size_t OwnShelf(size_t shelves) {
  const int proc = sched::CurrentProc();
  return proc < 0 ? 0 : static_cast<size_t>(proc) % shelves;
}

}  // namespace

PoolShelves::PoolShelves(void (*destroy)(void* object)) : destroy_(destroy) {
  Registry& all = AllPools();
  std::lock_guard hold(all.mu);
  aged_in_ = all.round;
  all.pools.PushBack(this);
}

PoolShelves::~PoolShelves() {
  {
    Registry& all = AllPools();
    std::unique_lock hold(all.mu);
    all.pools.Remove(this);
    all.aged.Wait(hold, [this] { return ageing_ == 0; });
  }
  for (Shelf& shelf : shelves_) {
    DestroyAll(std::exchange(shelf.top, nullptr));
    DestroyAll(std::exchange(shelf.aged, nullptr));
    while (Box* box = shelf.empty) {
      shelf.empty = box->below;
      delete box;
    }
  }
}

void* PoolShelves::PopFrom(Shelf& shelf, Box* Shelf::* row) {
  sched::NoPreempt no_preempt;
  base::SpinLockHolder hold(shelf.mu);
  Box* box = shelf.*row;
  if (box == nullptr) return nullptr;
  shelf.*row = box->below;
  box->below = shelf.empty;
  shelf.empty = box;
  return std::exchange(box->object, nullptr);
}

void* PoolShelves::Take() {
  const size_t own = OwnShelf(kShelves);
  for (Box* Shelf::* row : {&Shelf::top, &Shelf::aged}) {
    for (size_t i = 0; i < kShelves; ++i) {
      if (void* object = PopFrom(shelves_[(own + i) % kShelves], row)) return object;
    }
  }
  return nullptr;
}

void PoolShelves::Add(void* object) {
  Shelf& shelf = shelves_[OwnShelf(kShelves)];
  Box* fresh = nullptr;
  for (;;) {
    {
      sched::NoPreempt no_preempt;
      base::SpinLockHolder hold(shelf.mu);
      if (fresh == nullptr && shelf.empty != nullptr) {
        fresh = shelf.empty;
        shelf.empty = fresh->below;
      }
      if (fresh != nullptr) {
        fresh->object = object;
        fresh->below = shelf.top;
        shelf.top = fresh;
        return;
      }
    }
    fresh = new Box{nullptr, nullptr};  // not under the lock
  }
}

void PoolShelves::DestroyAll(Box* row) {
  while (row != nullptr) {
    Box* below = row->below;
    destroy_(row->object);
    delete row;
    row = below;
  }
}

void PoolShelves::Age() {
  for (Shelf& shelf : shelves_) {
    Box* old;
    {
      sched::NoPreempt no_preempt;
      base::SpinLockHolder hold(shelf.mu);
      old = std::exchange(shelf.aged, std::exchange(shelf.top, nullptr));
    }
    DestroyAll(old);
  }
}

}  // namespace internal

void AgePools() {
  internal::PoolShelves::Registry& all = internal::PoolShelves::AllPools();
  std::unique_lock hold(all.mu);
  const uint64_t round = ++all.round;
  // Pools come and go meanwhile. New ones have this round's number, so what it has not aged is in
  // front.
  while (internal::PoolShelves* pool = all.pools.front()) {
    if (pool->aged_in_ >= round) return;
    all.pools.Remove(pool);
    all.pools.PushBack(pool);
    pool->aged_in_ = round;
    ++pool->ageing_;
    hold.unlock();
    pool->Age();
    hold.lock();
    if (--pool->ageing_ == 0) all.aged.Broadcast();
  }
}

}  // namespace plimsoll
