#include "plimsoll/runtime/gc/make.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::gc::internal {

const alloc::ObjectShape* FindShape(ShapeSlot& slot, const alloc::Layout& layout, size_t bytes) {
  const alloc::ObjectShape* shape = alloc::ShapeFor(layout, ClassOrLarge(bytes));
  slot.store(shape, std::memory_order_release);  // pairs with the acquire in Allocate()
  return shape;
}

void* AllocateOrDie(const alloc::ObjectShape* shape, size_t bytes) {
  LastResort();
  if (void* p = alloc::AllocateCollected(shape, bytes)) return p;
  base::Fatal("runtime: out of memory: cannot allocate ", bytes, "-byte block (",
              GetStats().span_bytes, " in use)");
}

void ThrowLength(std::source_location where) {
  plimsoll::internal::ThrowPanic("runtime error: makeslice: len out of range", where);
}

}  // namespace plimsoll::gc::internal
