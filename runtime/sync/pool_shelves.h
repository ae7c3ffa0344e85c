// PoolShelves is a Pool without its type: one shelf a P, and the row of those a collection aged.
//
//   shelf 0   [ newest | ... | oldest ]   aged [ ... ]
//   shelf 1   [ ... ]                     aged [ ... ]      each on its own cache lines
//
// Take looks at the P's own shelf, then at the others', then at the aged rows. The lock of a shelf
// is held for a push or a pop of a pointer; memory is made and objects are destroyed outside it.
#ifndef PLIMSOLL_RUNTIME_SYNC_POOL_SHELVES_H_
#define PLIMSOLL_RUNTIME_SYNC_POOL_SHELVES_H_

#include <array>
#include <cstddef>

#include "plimsoll/alloc/base/spin_lock.h"

namespace plimsoll {

// Ages every pool of the process. The collector's wiring calls it once a cycle, on a goroutine.
void AgePools();

namespace internal {

class PoolShelves {
 public:
  explicit PoolShelves(void (*destroy)(void* object));
  ~PoolShelves();
  PoolShelves(const PoolShelves&) = delete;
  PoolShelves& operator=(const PoolShelves&) = delete;

  void* Take();  // null: there is nothing
  void Add(void* object);
  void Age();

 private:
  static constexpr size_t kShelves = 16;  // Ps beyond share

  // What was put on a shelf, linked through boxes of its own: an object's bytes are the user's.
  struct Box {
    void* object;
    Box* below;
  };
  struct alignas(64) Shelf {
    base::SpinLock mu;
    Box* top = nullptr;  // guarded by mu, as is all below
    Box* aged = nullptr;
    Box* empty = nullptr;  // boxes to use again
  };

  static void* PopFrom(Shelf& shelf, Box* Shelf::* row);
  void DestroyAll(Box* row);

  void (*const destroy_)(void* object);
  std::array<Shelf, kShelves> shelves_;
};

}  // namespace internal
}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SYNC_POOL_SHELVES_H_
