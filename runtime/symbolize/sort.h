// Heapsort: in place, without recursion or memory, and never worse than n log n.
#ifndef PLIMSOLL_RUNTIME_SYMBOLIZE_SORT_H_
#define PLIMSOLL_RUNTIME_SYMBOLIZE_SORT_H_

#include <cstddef>
#include <utility>

namespace plimsoll::symbolize {

template <typename T, typename Less>
void Sort(T* items, size_t count, const Less& less) {
  const auto sift = [&](size_t root, size_t end) {
    for (;;) {
      size_t child = 2 * root + 1;
      if (child >= end) return;
      if (child + 1 < end && less(items[child], items[child + 1])) ++child;
      if (!less(items[root], items[child])) return;
      std::swap(items[root], items[child]);
      root = child;
    }
  };
  for (size_t i = count / 2; i > 0; --i) sift(i - 1, count);
  for (size_t end = count; end > 1; --end) {
    std::swap(items[0], items[end - 1]);
    sift(0, end - 1);
  }
}

}  // namespace plimsoll::symbolize

#endif  // PLIMSOLL_RUNTIME_SYMBOLIZE_SORT_H_
