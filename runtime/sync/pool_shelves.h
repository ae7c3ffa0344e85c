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
#include <cstdint>

#include "plimsoll/alloc/base/intrusive_list.h"
#include "plimsoll/alloc/base/spin_lock.h"

namespace plimsoll {

// Ages every pool of the process. The collector's wiring calls it once a cycle, on a goroutine.
// Destructors of what was pooled run with nothing locked: they may wait, and make and end pools.
void AgePools();

namespace internal {

class PoolShelves {
 public:
  explicit PoolShelves(void (*destroy)(void* object));
  // Waits for an AgePools that destroys what it held.
  ~PoolShelves();
  PoolShelves(const PoolShelves&) = delete;
  PoolShelves& operator=(const PoolShelves&) = delete;

  void* Take();  // null: there is nothing
  void Add(void* object);

 private:
  friend void plimsoll::AgePools();
  struct Registry;  // of all pools

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

  static Registry& AllPools();
  static void* PopFrom(Shelf& shelf, Box* Shelf::* row);
  void DestroyAll(Box* row);
  void Age();

  void (*const destroy_)(void* object);
  std::array<Shelf, kShelves> shelves_;
  // The registry's, guarded by its lock.
  base::ListLink link_;
  uint64_t aged_in_ = 0;  // the last round that aged it
  int ageing_ = 0;        // rounds that do so now
};

}  // namespace internal
}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SYNC_POOL_SHELVES_H_
