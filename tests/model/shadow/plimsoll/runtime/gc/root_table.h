// runtime/gc/root_table.h under exploration: nothing is collected.
#ifndef PLIMSOLL_TESTS_MODEL_SHADOW_ROOT_TABLE_H_
#define PLIMSOLL_TESTS_MODEL_SHADOW_ROOT_TABLE_H_

#include <cstdint>

namespace plimsoll::gc::internal {

struct AmbiguousRange {
  uintptr_t lo = 0;
  uintptr_t hi = 0;
};
inline void AddRange(AmbiguousRange*) {}
inline void RemoveRange(AmbiguousRange*) {}

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_TESTS_MODEL_SHADOW_ROOT_TABLE_H_
