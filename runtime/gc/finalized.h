// gc::finalized makes a collected object whose destructor runs when nothing reaches it any more.
//
//   struct File {
//     int fd;
//     std::string path;                       // what the destructor is for: malloc's memory
//     gc::Ptr<Log> log;
//     GC_FIELDS(File, log);
//     ~File() {
//       close(fd);
//       if (log) log->Closed(path);
//     }
//   };
//   File* f = gc::finalized<File>(fd, "a");    // then as any other: gc::Ptr<File>, gc::Root<File>
//
// When:      once, after a cycle has found that nothing reaches the object, on a goroutine of the
//            collector's. At the end of the process it is not run: close by hand what must be.
// Sees:      itself. A pointer of it to what is dead too was made null, whatever the order: a
//            string, slice, vector or hash_map that nothing else holds is empty. What is alive it
//            finds as it is. Its own Weaks are empty.
// Freed:     by the next cycle that finds it unreachable.
// Blocking:  it may; others go on when the next cycle has ended, at the latest.
// Throwing:  ends the process, as an uncaught panic does: "panic: ...", exit status 2.
// Keeping:   a destructor that stores `this` keeps the memory, for as long as something reaches it,
//            of an object that has been destroyed; the destructor does not run again. It is counted
//            (Stats::resurrected), and told with PLIMSOLL_DEBUG=verify=1.
// Order:     none between objects. Cleanups of such an object run a cycle after its destructor.
// Threads:   several may run at once, beside anything.
// Cost:      one lock when it is made, 64 bytes beside the heap. A cleanup (cleanup.h) is simpler
//            where the object itself is not needed.
#ifndef PLIMSOLL_RUNTIME_GC_FINALIZED_H_
#define PLIMSOLL_RUNTIME_GC_FINALIZED_H_

#include <type_traits>
#include <utility>

#include "plimsoll/runtime/gc/afterlife.h"
#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/make.h"

namespace plimsoll::gc {
namespace internal {

template <typename T>
inline constexpr FinalType kFinalType = {
    [](void* object) { static_cast<T*>(object)->~T(); },
    kMask<T>.data(),
    kCounts<T>.data(),
    kWordsOf<T>,
    kTypeName<T>.data(),
};

}  // namespace internal

template <typename T, typename... Args>
[[nodiscard]] T* finalized(Args&&... args) {
  internal::CheckMap<T>();
  static_assert(!std::is_trivially_destructible_v<T>, "the type has no destructor: use gc::make");
  static_assert(!internal::Description<T>::kTraced,
                "a GC_TRACED type cannot be finalized: which of its words to make null is not "
                "known; give it GC_FIELDS");
  void* memory = internal::Allocate(internal::one_slot<T>, internal::kLayout<T>, sizeof(T));
  T* object = internal::Construct<T>(memory, std::forward<Args>(args)...);
  internal::AddDestructor(object, internal::kFinalType<T>);
  return object;
}

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_FINALIZED_H_
