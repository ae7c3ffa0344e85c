// What the sanitizers must be told of memory that is not malloc's; nothing in other builds.
//
//   base::RegisterLeakRoots(chunk, bytes);   // LeakSanitizer looks for pointers here
//   base::Poison(object, size);              // AddressSanitizer: a touch is an error
//   base::Unpoison(object, size);
//   base::AnyPoisoned(object, size)          // whether a touch of any of it would be one: for
//   tests
#ifndef PLIMSOLL_ALLOC_BASE_SANITIZER_H_
#define PLIMSOLL_ALLOC_BASE_SANITIZER_H_

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define PLIMSOLL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLIMSOLL_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define PLIMSOLL_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLIMSOLL_TSAN 1
#endif
#endif

#ifdef PLIMSOLL_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#endif

namespace plimsoll::base {

#ifdef PLIMSOLL_ASAN
inline constexpr bool kAsan = true;
inline void RegisterLeakRoots(const void* base, size_t bytes) {
  __lsan_register_root_region(base, bytes);
}
inline void UnregisterLeakRoots(const void* base, size_t bytes) {
  __lsan_unregister_root_region(base, bytes);
}
inline void Poison(const void* base, size_t bytes) { __asan_poison_memory_region(base, bytes); }
inline void Unpoison(const void* base, size_t bytes) { __asan_unpoison_memory_region(base, bytes); }
inline bool AnyPoisoned(const void* base, size_t bytes) {
  return __asan_region_is_poisoned(const_cast<void*>(base), bytes) != nullptr;
}
#else
inline constexpr bool kAsan = false;
inline void RegisterLeakRoots(const void*, size_t) {}
inline void UnregisterLeakRoots(const void*, size_t) {}
inline void Poison(const void*, size_t) {}
inline void Unpoison(const void*, size_t) {}
inline bool AnyPoisoned(const void*, size_t) { return false; }
#endif
#ifdef PLIMSOLL_TSAN
inline constexpr bool kTsan = true;
#else
inline constexpr bool kTsan = false;
#endif

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_SANITIZER_H_
