// A Pool keeps objects that are expensive to make between their uses.
//
//   Pool<Buffer> buffers([] { return std::make_unique<Buffer>(); });
//   auto buffer = buffers.Get();
//   ...
//   buffers.Put(std::move(buffer));
//
// Order:     none is promised. Get may give any object that was Put, or a new one.
// Threads:   any. Each P has its own shelf, so that Ps do not share lines; an empty shelf takes
//            from the others before it makes an object.
// Lifetime:  AgePools(), called once a collection of the collected heap (without one nothing ages),
//            moves what lies on the shelves to a second row and destroys what lay in the second
//            row: an object nobody asked for through two collections goes. What the pool holds when
//            it dies is destroyed. An object's destructor may use and end pools, but not its own:
//            an object must not hold the last handle to the pool that it lies in.
// Reset:     the pool gives objects back as they were Put.
#ifndef PLIMSOLL_RUNTIME_SYNC_POOL_H_
#define PLIMSOLL_RUNTIME_SYNC_POOL_H_

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "plimsoll/runtime/sync/pool_shelves.h"

namespace plimsoll {

template <typename T>
class Pool {
 public:
  using Maker = std::function<std::unique_ptr<T>()>;

  // `make` may be empty: Get then answers null when the pool has nothing.
  explicit Pool(Maker make = {}) : make_(std::move(make)), shelves_(Destroy) {}

  std::unique_ptr<T> Get() {
    if (void* object = shelves_.Take()) return std::unique_ptr<T>(static_cast<T*>(object));
    return make_ ? make_() : nullptr;
  }

  void Put(std::unique_ptr<T> object) {
    if (object != nullptr) shelves_.Add(object.release());
  }

 private:
  static void Destroy(void* object) { delete static_cast<T*>(object); }

  Maker make_;
  internal::PoolShelves shelves_;
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SYNC_POOL_H_
