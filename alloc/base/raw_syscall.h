// RawSyscall enters the kernel without libc: errno is untouched, and no wrapper that a program put
// before libc's functions is entered.
//
//   long rc = base::RawSyscall(SYS_madvise, base, bytes, MADV_DONTNEED);
//   if (rc == -ENOMEM) ...
//
// Result: the kernel's own: -errno, from -4095 to -1, for an error.
// Memory: none. May be called beneath malloc and in handlers.
#ifndef PLIMSOLL_ALLOC_BASE_RAW_SYSCALL_H_
#define PLIMSOLL_ALLOC_BASE_RAW_SYSCALL_H_

#include <cstdint>
#include <type_traits>

namespace plimsoll::base {
namespace internal {

template <typename T>
inline long Word(T value) {
  if constexpr (std::is_pointer_v<T>) {
    return static_cast<long>(reinterpret_cast<uintptr_t>(value));
  } else {
    return static_cast<long>(value);
  }
}

inline long Syscall6(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc 0"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
               : "memory");
  return x0;
#else
#error "RawSyscall knows x86-64 and arm64."
#endif
}

}  // namespace internal

// Up to six arguments: integers and pointers.
template <typename... Args>
inline long RawSyscall(long number, Args... args) {
  static_assert(sizeof...(Args) <= 6);
  const long words[6] = {internal::Word(args)...};
  return internal::Syscall6(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_RAW_SYSCALL_H_
