#include "plimsoll/runtime/gc/cleanup.h"

#include <cstdint>
#include <cstdio>

#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/collectable.h"
#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/probe.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::gc {

bool Cleanup::stop() {
  if constexpr (internal::kProbe) internal::ProbeMutator();
  void* closure = internal::TakeCleanup(id_);
  id_ = {};
  if (closure == nullptr) return false;
  ops_->destroy(closure);
  return true;
}

namespace internal {

void HoldWords(uintptr_t* to, const void* closure, size_t words) {
  typedef uintptr_t AnyWord __attribute__((may_alias));
  const auto* from = static_cast<const AnyWord*>(closure);
  alloc::SlowPath no_preempt;  // no mark begins among them
  for (size_t w = 0; w < words; ++w) {
    to[w] = from[w];
    ShadeTaken(to[w]);
  }
}

void CheckClosure(const void* object, const void* closure, size_t bytes,
                  std::source_location where) {
  if (object == nullptr) plimsoll::internal::ThrowPanic("gc::cleanup: the object is null", where);
  alloc::Object subject, held;
  if (!alloc::FindObject(reinterpret_cast<uintptr_t>(object), &subject)) {
    plimsoll::internal::ThrowPanic("gc::cleanup: the object is not of the collected heap", where);
  }
  typedef uintptr_t AnyWord __attribute__((may_alias));
  const auto* words = static_cast<const AnyWord*>(closure);
  for (size_t w = 0; w < bytes / sizeof(uintptr_t); ++w) {
    if (!alloc::FindObject(words[w], &held) || held != subject) continue;
    char text[160];
    std::snprintf(
        text, sizeof text,
        "gc::cleanup: word %zu of the function and its arguments is the object's address: "
        "they would keep it, and the cleanup would never run",
        w);
    plimsoll::internal::ThrowPanic(text, where);
  }
  keep_alive(object);
}

}  // namespace internal
}  // namespace plimsoll::gc
