// Scratch is memory for a process that may not call malloc any more: pieces of own mappings, given
// back all at once.
//
//   Scratch scratch;
//   Symbol* table = scratch.Array<Symbol>(count);   // null: the kernel has none left
//
// Memory:   raw mmap and munmap. Callable in handlers, with any lock held.
// Threads:  one at a time.
#ifndef PLIMSOLL_RUNTIME_SYMBOLIZE_SCRATCH_H_
#define PLIMSOLL_RUNTIME_SYMBOLIZE_SCRATCH_H_

#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "plimsoll/alloc/base/raw_syscall.h"

namespace plimsoll::symbolize {

class Scratch {
 public:
  Scratch() = default;
  ~Scratch() {
    while (chunks_ != nullptr) {
      Chunk* next = chunks_->next;
      base::RawSyscall(SYS_munmap, chunks_, chunks_->bytes);
      chunks_ = next;
    }
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // `bytes` zero bytes at a multiple of 16, or null.
  void* Allocate(size_t bytes) {
    if (bytes > std::numeric_limits<size_t>::max() / 2) return nullptr;
    bytes = (bytes + 15) & ~size_t{15};
    if (bytes > static_cast<size_t>(end_ - at_) && !Grow(bytes)) return nullptr;
    char* result = at_;
    at_ += bytes;
    return result;
  }

  template <typename T>
    requires std::is_trivially_destructible_v<T>
  T* Array(size_t count) {
    if (count > std::numeric_limits<size_t>::max() / 2 / sizeof(T)) return nullptr;
    return static_cast<T*>(Allocate(count * sizeof(T)));
  }

 private:
  struct alignas(16) Chunk {
    Chunk* next;
    size_t bytes;
  };

  bool Grow(size_t bytes) {
    constexpr size_t kChunk = size_t{256} << 10;
    const size_t wanted = bytes + sizeof(Chunk);
    const size_t mapped = wanted <= kChunk ? kChunk : (wanted + 4095) & ~size_t{4095};
    const long rc = base::RawSyscall(SYS_mmap, 0, mapped, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (rc < 0 && rc >= -4095) return false;
    auto* chunk = reinterpret_cast<Chunk*>(rc);
    chunk->next = chunks_;
    chunk->bytes = mapped;
    chunks_ = chunk;
    at_ = reinterpret_cast<char*>(chunk + 1);
    end_ = reinterpret_cast<char*>(chunk) + mapped;
    return true;
  }

  Chunk* chunks_ = nullptr;
  char* at_ = nullptr;
  char* end_ = nullptr;
};

}  // namespace plimsoll::symbolize

#endif  // PLIMSOLL_RUNTIME_SYMBOLIZE_SCRATCH_H_
