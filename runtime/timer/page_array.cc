#include "plimsoll/runtime/timer/page_array.h"

#include <sys/mman.h>

namespace plimsoll::timer {

void* GrowPages(void* old, size_t old_bytes, size_t bytes) {
  void* pages = old == nullptr ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                               : mremap(old, old_bytes, bytes, MREMAP_MAYMOVE);
  return pages == MAP_FAILED ? nullptr : pages;
}

void FreePages(void* pages, size_t bytes) {
  if (pages != nullptr) munmap(pages, bytes);
}

}  // namespace plimsoll::timer
