// What the fast paths say to the machine where the compiler would spend an instruction more: it
// keeps an atomic load apart from the comparison that uses it, and widens a bit count that is wide.
//
//   if (base::LoadsEqual(span->owner, me)) ...     // one compare with memory
//   index = base::LowestBit(bits);                 // bits != 0
//
// Other machines, and TSan, which must see the load, get plain C++.
#ifndef PLIMSOLL_ALLOC_BASE_MACHINE_H_
#define PLIMSOLL_ALLOC_BASE_MACHINE_H_

#include <atomic>
#include <bit>
#include <cstdint>

#include "plimsoll/alloc/base/sanitizer.h"

#if defined(__x86_64__) && !defined(PLIMSOLL_TSAN) && !defined(PLIMSOLL_ASAN)
#define PLIMSOLL_X86_OPERANDS 1
#endif

namespace plimsoll::base {

// Whether a relaxed load of `from` gives `value`.
template <typename T>
[[gnu::always_inline]] inline bool LoadsEqual(const std::atomic<T*>& from, T* value) {
#ifdef PLIMSOLL_X86_OPERANDS
  static_assert(sizeof(from) == 8);
  bool equal;
  asm("cmpq %[from], %[value]" : "=@cce"(equal) : [from] "m"(from), [value] "r"(value));
  return equal;
#else
  return from.load(std::memory_order_relaxed) == value;
#endif
}

// Whether a relaxed load of `from` gives 0.
[[gnu::always_inline]] inline bool LoadsZero(const uint8_t& from) {
#ifdef PLIMSOLL_X86_OPERANDS
  bool zero;
  asm("cmpb $0, %[from]" : "=@cce"(zero) : [from] "m"(from));
  return zero;
#else
  return __atomic_load_n(&from, __ATOMIC_RELAXED) == 0;
#endif
}

// Takes 1 from `value`, which only this thread writes, as a release; whether it is 0 now.
[[gnu::always_inline]] inline bool DecrementsToZero(uint32_t& value) {
#ifdef PLIMSOLL_X86_OPERANDS
  // Every store of x86-64 is a release; the clobber keeps the compiler's in order as well. A jump
  // and no flag: with a flag GCC moves the argument of free out of its register.
  asm goto("subl $1, %[value]\n\tjz %l[zero]" : : [value] "m"(value) : "memory", "cc" : zero);
  return false;
zero:
  return true;
#else
  const uint32_t left = value - 1;
  __atomic_store_n(&value, left, __ATOMIC_RELEASE);
  return left == 0;
#endif
}

// The place of the lowest bit that is set. Requires: there is one.
[[gnu::always_inline]] inline uint64_t LowestBit(uint64_t bits) {
#ifdef PLIMSOLL_X86_OPERANDS
  uint64_t place;
  asm("rep bsfq %[bits], %[place]" : [place] "=r"(place) : [bits] "r"(bits) : "cc");
  return place;
#else
  return static_cast<uint64_t>(std::countr_zero(bits));
#endif
}

// How many bits are set. std::popcount is a call into libgcc where the CPU need not have POPCNT.
[[gnu::always_inline]] inline uint32_t CountBits(uint64_t bits) {
  bits -= bits >> 1 & 0x5555555555555555u;
  bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
  bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return static_cast<uint32_t>(bits * 0x0101010101010101u >> 56);
}

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_MACHINE_H_
