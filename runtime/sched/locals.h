// What a goroutine carries for others to find: a chain of values by key, shared with those it
// makes.
//
//   G::locals -> [key a | value] -> [key b | value] -> null
//                                        ^
//   the locals of a goroutine it made ---+      (made before `a` was set)
//
// Invariants:
//   (1) A node never changes but for its count: a chain is shared without a lock.
//   (2) A chain has at most one node for a key.
//   (3) Values are destroyed on a goroutine, with preemption on: they are user's code.
#ifndef PLIMSOLL_RUNTIME_SCHED_LOCALS_H_
#define PLIMSOLL_RUNTIME_SCHED_LOCALS_H_

#include <atomic>
#include <memory>
#include <utility>

namespace plimsoll::sched {

struct LocalNode {
  std::atomic<uint32_t> references{1};
  const void* key;
  std::shared_ptr<const void> value;
  LocalNode* next;  // owned, one reference
};

// The current goroutine's value for the key, or null; null on a foreign thread, too.
const void* FindLocal(const void* key);

// Sets it; an empty value takes the key away. Fatal on a foreign thread: nothing would end it
// there.
void SetLocal(const void* key, std::shared_ptr<const void> value);

// The value itself, to be set again later.
std::shared_ptr<const void> ShareLocal(const void* key);

// For the scheduler: one more, and one less, that points to the chain.
inline LocalNode* KeepLocals(LocalNode* chain) {
  if (chain != nullptr) chain->references.fetch_add(1, std::memory_order_relaxed);
  return chain;
}
void DropLocals(LocalNode* chain);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_LOCALS_H_
