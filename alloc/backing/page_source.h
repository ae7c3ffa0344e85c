// A PageSource is where the heap gets address space and memory from: the system, or a test's fake.
//
//   template <PageSource Source> class MHeap { ... };
//   Mapping m = source.Map(MiB(64), MiB(64), /*hint=*/0);
//   if (m.base == nullptr) return m.error;                  // ENOMEM: RLIMIT_AS, max_map_count,
//   ... source.Release(m.base, KiB(64));                        // the memory goes, the addresses
//   stay
//
// Map:      `bytes` of private memory, readable and writable, reading as zero, aligned to
//           `alignment` (a power of two of at least a machine page). `hint` is where it would be
//           best; 0, or an address that is taken, means anywhere. On failure base is null and error
//           is an errno value; nothing is left behind.
// Release:  gives the memory of whole machine pages back; they read as zero afterwards. False: the
//           system refused, and the contents are as they were.
// Unmap:    gives memory and addresses back; any part of what Map gave.
// Collapse: asks for huge pages behind a range, now. False: not done, and nothing is lost.
// Threads:  any number at once.
// Memory:   uses none of its own: the heap calls it beneath malloc.
#ifndef PLIMSOLL_ALLOC_BACKING_PAGE_SOURCE_H_
#define PLIMSOLL_ALLOC_BACKING_PAGE_SOURCE_H_

#include <concepts>
#include <cstdint>

#include "plimsoll/alloc/base/units.h"

namespace plimsoll::alloc {

// What Map answers.
struct Mapping {
  void* base = nullptr;
  int error = 0;  // an errno value when base is null
};

template <typename S>
concept PageSource = requires(S source, void* base, ByteCount bytes, uintptr_t hint) {
  { source.Map(bytes, bytes, hint) } -> std::same_as<Mapping>;
  { source.Release(base, bytes) } -> std::same_as<bool>;
  { source.Unmap(base, bytes) } -> std::same_as<void>;
  { source.Collapse(base, bytes) } -> std::same_as<bool>;
};

// What the heap's arenas come from.
//
// Reserve:  addresses as Map's, of which nothing may be touched yet and nothing is in memory,
//           whatever mlockall() says of mappings to come.
// Open:     makes part of them readable and writable, reading as zero. False: the system refused.
template <typename S>
concept ArenaSource =
    PageSource<S> && requires(S source, void* base, ByteCount bytes, uintptr_t hint) {
      { source.Reserve(bytes, bytes, hint) } -> std::same_as<Mapping>;
      { source.Open(base, bytes) } -> std::same_as<bool>;
    };

// A PageSource's Map and Unmap for code that is no template; the source outlives it.
class PageSourceRef {
 public:
  template <PageSource S>
    requires(!std::same_as<S, PageSourceRef>)
  explicit PageSourceRef(S& source)
      : source_(&source),
        map_([](void* s, ByteCount bytes, ByteCount alignment) {
          return static_cast<S*>(s)->Map(bytes, alignment, /*hint=*/0);
        }),
        unmap_(
            [](void* s, void* base, ByteCount bytes) { static_cast<S*>(s)->Unmap(base, bytes); }) {}

  Mapping Map(ByteCount bytes, ByteCount alignment) const {
    return map_(source_, bytes, alignment);
  }
  void Unmap(void* base, ByteCount bytes) const { unmap_(source_, base, bytes); }

 private:
  void* source_;
  Mapping (*map_)(void* source, ByteCount bytes, ByteCount alignment);
  void (*unmap_)(void* source, void* base, ByteCount bytes);
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_BACKING_PAGE_SOURCE_H_
