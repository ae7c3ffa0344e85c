// A Visitor is handed to gc_trace, the way of types whose pointers no mask can name.
//
//   void gc_trace(gc::Visitor& v) const {
//     for (size_t i = 0; i < used; ++i) v.visit(slots[i]);
//   }
//
// gc_trace runs while the world may be stopped: it reads its own object and visits, nothing else.
// It allocates nothing, takes no lock, follows no Ptr, and must do with an object of all zeroes, as
// it is before its constructor has run.
#ifndef PLIMSOLL_RUNTIME_GC_VISITOR_H_
#define PLIMSOLL_RUNTIME_GC_VISITOR_H_

#include <cstdint>

#include "plimsoll/alloc/collectable.h"
#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/ptr.h"

namespace plimsoll::gc {

class Visitor {
 public:
  explicit Visitor(alloc::TraceSink& sink) : sink_(sink) {}

  template <typename T>
  void visit(const Ptr<T>& p) {
    sink_.Visit(reinterpret_cast<const void* const*>(&p));
  }

  // Any described value: its mapped words, or what its own gc_trace visits.
  template <typename T>
    requires Described<T>
  void visit(const T& value) {
    if constexpr (internal::Description<T>::kTraced) {
      internal::Access::Trace(value, *this);
    } else if constexpr (internal::HasPointers<T>()) {
      const auto* words = reinterpret_cast<const void* const*>(&value);
      for (size_t w = 0; w < internal::kWordsOf<T>; ++w) {
        if ((internal::kMask<T>[w / 64] >> (w % 64) & 1) != 0) sink_.Visit(words + w);
      }
    }
  }

 private:
  alloc::TraceSink& sink_;
};

namespace internal {

template <typename T>
void TraceOne(const void* object, alloc::TraceSink& sink) {
  Visitor visitor(sink);
  Access::Trace(*static_cast<const T*>(object), visitor);
}

}  // namespace internal
}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_VISITOR_H_
