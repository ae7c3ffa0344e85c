#include "plimsoll/runtime/sched/locals.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/sched/internal.h"

namespace plimsoll::sched {
namespace {

G* GoroutineOrNull() {
  const M* m = CurrentM();
  return m != nullptr && !m->g->is_system_stack ? m->g : nullptr;
}

LocalNode* NodeOf(const void* key) {
  const G* g = GoroutineOrNull();
  if (g == nullptr) return nullptr;
  LocalNode* n = g->locals;
  while (n != nullptr && n->key != key) n = n->next;
  return n;
}

// A chain as `chain` without the key; the part behind it is shared.
LocalNode* Without(LocalNode* chain, const LocalNode* gone) {
  if (chain == gone) return KeepLocals(chain->next);
  return new LocalNode{
      .key = chain->key, .value = chain->value, .next = Without(chain->next, gone)};
}

}  // namespace

const void* FindLocal(const void* key) {
  const LocalNode* n = NodeOf(key);
  return n != nullptr ? n->value.get() : nullptr;
}

std::shared_ptr<const void> ShareLocal(const void* key) {
  const LocalNode* n = NodeOf(key);
  return n != nullptr ? n->value : nullptr;
}

void SetLocal(const void* key, std::shared_ptr<const void> value) {
  G* g = GoroutineOrNull();
  PLIMSOLL_CHECK(g != nullptr, "a task-local value is set on a thread that is no goroutine");
  LocalNode* before = g->locals;
  const LocalNode* old = NodeOf(key);
  LocalNode* rest = old != nullptr ? Without(before, old) : KeepLocals(before);  // by (2)
  g->locals =
      value == nullptr ? rest : new LocalNode{.key = key, .value = std::move(value), .next = rest};
  DropLocals(before);
}

void DropLocals(LocalNode* chain) {
  // acq_rel: who destroys a value sees what the other goroutines did with it
  while (chain != nullptr && chain->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    LocalNode* next = chain->next;
    delete chain;
    chain = next;
  }
}

}  // namespace plimsoll::sched
