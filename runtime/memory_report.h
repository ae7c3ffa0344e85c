// The MemoryReport tells why the process's memory is what it is: each byte of RSS in one line, and
// the line says who told of it.
//
//   const MemoryReport report = TakeMemoryReport();
//   Print(report.Text());                              // GET /debug/plimsoll/memory
//
// Sum:       the lines add up to `rss`, the sum of all mappings that smaps shows. What nobody tells
//            of is a line too, kUnaccounted; it is negative where things changed between two looks.
//            `kernel_rss` is the kernel's own counter, read after all: for who does not trust the
//            sum.
// Measured:  the heap and goroutine stacks, page by page (/proc/self/pagemap); mappings with a
// name,
//            as smaps tells. Told: malloc's, which its own statistics say; it is cut at what
//            anonymous memory is left for it, since jemalloc counts pages that were never touched.
// Cost:      some ms for each GiB in memory, and each 1,000 mappings; the page heap's lock for
//            milliseconds for each GiB. Not for a loop.
// Blocking:  as a BlockingCall.
// Threads:   any goroutine, or a thread of the program's; any number at once.
#ifndef PLIMSOLL_RUNTIME_MEMORY_REPORT_H_
#define PLIMSOLL_RUNTIME_MEMORY_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/limits.h"
#include "plimsoll/container/memory_usage.h"
#include "plimsoll/runtime/gc/collector.h"

namespace plimsoll {

enum class MemoryKind : uint8_t {
  kCollected,     // pages of spans of collected objects
  kAllocated,     // pages of spans of Heap::Allocate's
  kHeapIdle,      // pages of the heap in no span: kept for what comes
  kGuarded,       // samples between guard pages
  kStacksLive,    // of goroutines
  kStacksKept,    // of goroutines that ended
  kMalloc,        // the process's malloc
  kThreadStacks,  // the first thread's, and those of the size that threads are made with
  kRecords,       // small mappings above a guard page: our records, stacks of signal handlers
  kProgramCode,
  kProgramData,  // .data, .bss, read-only data
  kFiles,        // other mapped files and shared memory
  kOther,        // the kernel's own mappings: vdso and the like
  kUnaccounted,
};
inline constexpr int kMemoryKinds = static_cast<int>(MemoryKind::kUnaccounted) + 1;

// "collected objects", ...
std::string_view MemoryKindName(MemoryKind kind);
// A word for machines: "collected", ...
std::string_view MemoryKindKey(MemoryKind kind);

struct MemoryLine {
  int64_t bytes = 0;   // in memory
  std::string detail;  // "12,345 objects in 40 spans"; who told, and what else
};

// Spans of one size class.
struct MemoryClass {
  bool collected = false;
  uint64_t object_bytes = 0;  // 0: large objects
  uint64_t objects = 0;
  uint64_t objects_bytes = 0;
  uint64_t span_bytes = 0;
  uint64_t resident = 0;
};

struct MemoryReport {
  uint64_t rss = 0;
  uint64_t kernel_rss = 0;  // 0: cannot be read
  MemoryLine lines[kMemoryKinds];
  std::vector<MemoryClass> classes;  // those that have spans, largest first
  bool pagemap = false;              // pages could be looked at one by one

  uint64_t page_tables = 0;  // beside RSS; VmPTE
  uint64_t swapped = 0;      // VmSwap
  uint64_t goroutines = 0;
  uint64_t threads = 0;
  uint64_t malloc_told = 0;
  gc::Stats collector;
  std::optional<container::MemoryUsage> cgroup;
  std::optional<uint64_t> cgroup_limit;
  // What the runtime keeps to, and who says so: GOMEMLIMIT, else the cgroup.
  std::optional<uint64_t> process_limit;
  container::Source process_limit_source = container::Source::kNone;

  const MemoryLine& of(MemoryKind kind) const { return lines[static_cast<int>(kind)]; }
  // All lines but kUnaccounted.
  int64_t Accounted() const;

  // For people, and for machines: one JSON object.
  std::string Text() const;
  std::string Json() const;
};

MemoryReport TakeMemoryReport();

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_MEMORY_REPORT_H_
