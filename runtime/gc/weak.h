// A Weak is a pointer that does not keep what it points to.
//
//   gc::Weak<Page> seen(page);                  // on a stack, or a field named in GC_FIELDS
//   if (Page* p = seen.lock()) Use(p);          // held while it is on the stack; null: it is gone
//   gc::hash_map<gc::string, gc::Weak<Page>> by_name;   // a cache that keeps nothing alive
//   gc::Root<gc::Weak<Page>> w = gc::make<gc::Weak<Page>>(page);     // from malloc's memory
//
// Gone:      when a cycle has found that nothing reaches the object; before its cleanups and its
//            destructor run, so these find it null too. Until a cycle has, lock() gives the object
//            out, however long nobody held it.
// Equality:  two are equal if they were made of the same address, also when it is gone, and though
//            the address may be another object's by then. One to a field is not equal to one to its
//            object.
// Size:      a machine word. All that are made of one address share 8 bytes in the heap.
// Places:    as a gc::Ptr's.
// Threads:   goroutines, not within a BlockingCall; lock() beside any number of others.
// Cost:      lock() takes a few ns, and while a mark runs marks the object. A mark ends with the
//            world stopped for longer the more of them go.
// Misuse:    one to what is no collected object ends the process.
#ifndef PLIMSOLL_RUNTIME_GC_WEAK_H_
#define PLIMSOLL_RUNTIME_GC_WEAK_H_

#include <cstddef>
#include <functional>

#include "plimsoll/runtime/gc/afterlife.h"
#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/probe.h"
#include "plimsoll/runtime/gc/ptr.h"

namespace plimsoll::gc {
namespace internal {

// The cell of `p`, which is not null.
const WeakCell* CellOf(const void* p);

}  // namespace internal

template <typename T>
class Weak {
 public:
  using element_type = T;

  Weak() = default;
  Weak(std::nullptr_t) {}  // NOLINT: as a pointer is
  explicit Weak(T* p) : cell_(p == nullptr ? nullptr : internal::CellOf(p)) {}
  explicit Weak(const Ptr<T>& p) : Weak(p.get()) {}

  // The object; null: it is gone, or there never was one.
  T* lock() const {
    if constexpr (internal::kProbe) internal::ProbeMutator();
    const internal::WeakCell* cell = cell_.get();
    return cell == nullptr ? nullptr : reinterpret_cast<T*>(internal::Strengthen(*cell));
  }

  friend bool operator==(const Weak& a, const Weak& b) { return a.cell_.get() == b.cell_.get(); }

 private:
  friend struct std::hash<Weak>;
  GC_FIELDS(Weak, cell_);

  Ptr<const internal::WeakCell> cell_;
};

static_assert(sizeof(Weak<int>) == sizeof(void*));

}  // namespace plimsoll::gc

template <typename T>
struct std::hash<plimsoll::gc::Weak<T>> {
  size_t operator()(const plimsoll::gc::Weak<T>& w) const {
    return std::hash<const void*>()(w.cell_.get());
  }
};

#endif  // PLIMSOLL_RUNTIME_GC_WEAK_H_
