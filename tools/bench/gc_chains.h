// What the collector's benches keep alive: chains of eight 64-byte nodes, four pointers in each.
#ifndef PLIMSOLL_TOOLS_BENCH_GC_CHAINS_H_
#define PLIMSOLL_TOOLS_BENCH_GC_CHAINS_H_

#include <cstdint>

#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"

namespace plimsoll::bench {

struct Node {
  gc::Ptr<Node> next, a, b, c;
  uint64_t numbers[4] = {};
  GC_FIELDS(Node, next, a, b, c);
};

constexpr int64_t kChainBytes = 512;

inline Node* Chain() {
  Node* head = nullptr;
  for (int i = 0; i < 8; ++i) {
    Node* n = gc::make<Node>();
    n->next = n->a = n->b = n->c = head;
    head = n;
  }
  return head;
}

// The next of a row of numbers, by xorshift: which chain is replaced.
inline uint64_t NextChain(uint64_t& r) {
  r ^= r << 13;
  r ^= r >> 7;
  r ^= r << 17;
  return r;
}

}  // namespace plimsoll::bench

#endif  // PLIMSOLL_TOOLS_BENCH_GC_CHAINS_H_
