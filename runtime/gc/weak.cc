#include "plimsoll/runtime/gc/weak.h"

#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"

namespace plimsoll::gc::internal {

const WeakCell* CellOf(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  const WeakCell* cell = FindCell(address);
  // Not under the lock: to allocate may begin a cycle.
  if (cell == nullptr) cell = AddCell(address, make<WeakCell>());
  keep_alive(p);
  return cell;
}

}  // namespace plimsoll::gc::internal
