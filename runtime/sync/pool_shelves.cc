#include "plimsoll/runtime/sync/pool_shelves.h"

#include <mutex>
#include <utility>
#include <vector>

#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/mutex.h"

namespace plimsoll {
namespace internal {
namespace {

struct Registry {
  Mutex mu;  // a goroutine's lock: user destructors run while AgePools walks
  std::vector<PoolShelves*> pools;
};
// Never destroyed: pools may outlive static destructors.
Registry& AllPools() {
  static Registry* registry = new Registry;
  return *registry;
}

size_t OwnShelf(size_t shelves) {
  const int proc = sched::CurrentProc();
  return proc < 0 ? 0 : static_cast<size_t>(proc) % shelves;
}

}  // namespace

PoolShelves::PoolShelves(void (*destroy)(void* object)) : destroy_(destroy) {
  Registry& all = AllPools();
  std::lock_guard hold(all.mu);
  all.pools.push_back(this);
}

PoolShelves::~PoolShelves() {
  {
    Registry& all = AllPools();
    std::lock_guard hold(all.mu);
    std::erase(all.pools, this);
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
  internal::Registry& all = internal::AllPools();
  std::lock_guard hold(all.mu);
  for (internal::PoolShelves* pool : all.pools) pool->Age();
}

}  // namespace plimsoll
