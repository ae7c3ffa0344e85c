// A MemoryLimit finds how much memory the process may have, and what of it is the heap's.
//
//   constinit MemoryLimit limit;
//   limit.Find();                                          // once
//   pages.SetLimit(limit.HeapShare(pages.HeldBytes()));    // now and then: a container is resized
//
// Order:    GOMEMLIMIT as in Go, unless it is "off" or empty; else the least of memory.max and
//           memory.high of the process's own cgroup and of each above it that can be seen
//           (cgroup v2), or its hierarchical_memory_limit (v1). container/limits.h, for those that
//           may allocate, sees more; alloc depends on nothing above it.
// Cgroup:   the one that the process was in at Find(). In whose files nothing can be read, as under
//           a path with a blank in it, sets no limit.
// Rights:   a program with more rights than who started it heeds no GOMEMLIMIT (environment.h).
// Errors:   a GOMEMLIMIT that is not understood is told on stderr, and left out.
// Threads:  one.
// Memory:   its own and the stack's: it runs beneath malloc.
#ifndef PLIMSOLL_ALLOC_MEMORY_LIMIT_H_
#define PLIMSOLL_ALLOC_MEMORY_LIMIT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plimsoll::alloc {

class MemoryLimit {
 public:
  static constexpr uint64_t kNone = UINT64_MAX;

  // `root` stands before every path that is read; tests have one.
  constexpr explicit MemoryLimit(const char* root = "") : root_(root) {}

  // Heeds `gomemlimit`, the variable's value or null, and finds the cgroup.
  void Find(const char* gomemlimit);
  // The process's own.
  void Find();

  // What all of the process may hold, read anew; kNone: there is no limit.
  uint64_t Read() const;

  // What the heap may hold, which holds `held` now: the limit less a margin of an eighth, at most
  // 16 MiB, and less what else of the process is in memory.
  uint64_t HeapShare(uint64_t held) const;

 private:
  static constexpr size_t kLongest = 512;  // of a path, its end included
  struct Directory {
    char path[kLongest] = {};  // the process's own; empty: none was found
    size_t mount = 0;          // of it, the mount point
  };

  void TakeMount(std::string_view line, std::string_view own_v2, std::string_view own_v1);
  bool Join(Directory& to, std::string_view mount, std::string_view below) const;

  const char* const root_;
  uint64_t told_ = kNone;  // by GOMEMLIMIT
  bool off_ = false;       // GOMEMLIMIT=off
  Directory v2_;
  Directory v1_;
};

// A number with B, KiB, MiB, GiB, TiB or nothing behind it. False: it is none.
bool ParseGoMemLimit(std::string_view text, uint64_t* bytes);

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_MEMORY_LIMIT_H_
