// What the tests of the collector under the real scheduler share: trees that tell whether they are
// whole, and a collector that checks itself.
#ifndef PLIMSOLL_RUNTIME_GC_TREES_FOR_TESTS_H_
#define PLIMSOLL_RUNTIME_GC_TREES_FOR_TESTS_H_

#include <cstdint>
#include <cstdlib>

#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc_world.h"

namespace plimsoll {

struct Node {
  uint64_t key = 0;
  gc::Ptr<Node> left, right;
  GC_FIELDS(Node, left, right);
};

// Every node of a tree says what its place is, so that one that was freed and used again shows.
inline Node* Tree(uint64_t key, int depth) {
  Node* n = gc::make<Node>();
  n->key = key;
  if (depth > 0) {
    n->left = Tree(key * 2, depth - 1);
    n->right = Tree(key * 2 + 1, depth - 1);
  }
  return n;
}

inline bool IsTree(const Node* n, uint64_t key, int depth) {
  if (n == nullptr || n->key != key) return false;
  return depth == 0
             ? n->left == nullptr && n->right == nullptr
             : IsTree(n->left, key * 2, depth - 1) && IsTree(n->right, key * 2 + 1, depth - 1);
}

// The first call starts it: it collects when it is told to, looks at each cycle for what was
// missed, and stops the world for all of a mark where GC_TEST_STOPPED is set.
inline void StartCheckedCollector() {
  static const bool started = (StartCollector({.gogc = -1,
                                               .checkmark = true,
                                               .verify = true,
                                               .beside = std::getenv("GC_TEST_STOPPED") == nullptr,
                                               .markers = 3,
                                               .share_from = 0}),
                               true);
  (void)started;
}

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_GC_TREES_FOR_TESTS_H_
