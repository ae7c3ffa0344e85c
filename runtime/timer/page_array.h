// A PageArray is an array of plain values that grows by mmap and mremap, so that it may grow where
// malloc is not allowed.
#ifndef PLIMSOLL_RUNTIME_TIMER_PAGE_ARRAY_H_
#define PLIMSOLL_RUNTIME_TIMER_PAGE_ARRAY_H_

#include <cstddef>
#include <type_traits>

namespace plimsoll::timer {

// Maps or remaps `old` (null at first) to `bytes`; null when there is no memory, `old` then stays.
void* GrowPages(void* old, size_t old_bytes, size_t bytes);
void FreePages(void* pages, size_t bytes);

template <typename T>
class PageArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  PageArray() = default;
  ~PageArray() { FreePages(data_, capacity_ * sizeof(T)); }
  PageArray(const PageArray&) = delete;
  PageArray& operator=(const PageArray&) = delete;

  size_t capacity() const { return capacity_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

  // Doubles the capacity, from one page. False: no memory.
  [[nodiscard]] bool Grow() {
    const size_t grown = capacity_ == 0 ? 4096 / sizeof(T) : capacity_ * 2;
    void* pages = GrowPages(data_, capacity_ * sizeof(T), grown * sizeof(T));
    if (pages == nullptr) return false;
    data_ = static_cast<T*>(pages);
    capacity_ = grown;
    return true;
  }

 private:
  T* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace plimsoll::timer

#endif  // PLIMSOLL_RUNTIME_TIMER_PAGE_ARRAY_H_
