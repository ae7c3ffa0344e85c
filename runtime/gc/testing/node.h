// What the collector's tests make: a node of a binary tree.
#ifndef PLIMSOLL_RUNTIME_GC_TESTING_NODE_H_
#define PLIMSOLL_RUNTIME_GC_TESTING_NODE_H_

#include <cstdint>

#include "plimsoll/alloc/collectable.h"
#include "plimsoll/runtime/gc/ptr.h"

namespace plimsoll::gc {

struct Node {
  int64_t key = 0;
  Ptr<Node> left, right;
  GC_FIELDS(Node, left, right);
};

// Whether there is an object at p: one that was not freed.
inline bool InUse(const void* p) {
  alloc::Object o;
  return alloc::FindObject(reinterpret_cast<uintptr_t>(p), &o);
}

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_TESTING_NODE_H_
