// How a function object lies in collected memory: any word of it may be a pointer, as on a stack.
//
//   void* memory = Allocate(closure_slots[ClassOrLarge(bytes)], kClosureLayout, bytes);
//
// Where its pointers are no mask can tell: a lambda's captures have no names. So T*, gc::Ptr and
// gc:: types may be captured alike. Whoever changes a raw pointer in it tells no barrier: it is
// written when it is made, in memory that is black or was all zeroes when the mark began, and then
// read.
#ifndef PLIMSOLL_RUNTIME_GC_CLOSURE_H_
#define PLIMSOLL_RUNTIME_GC_CLOSURE_H_

#include <cstdint>

#include "plimsoll/alloc/collectable.h"
#include "plimsoll/alloc/size_class.h"
#include "plimsoll/runtime/gc/make.h"

namespace plimsoll::gc::internal {

inline constexpr uint64_t kEveryWord = 1;
inline constexpr alloc::Layout kClosureLayout{
    .kind = alloc::Layout::Kind::kMask, .element_words = 1, .mask = &kEveryWord, .name = "closure"};
inline constinit ShapeSlot closure_slots[alloc::kClassCount] = {};

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_CLOSURE_H_
