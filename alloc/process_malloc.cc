#include "plimsoll/alloc/process_malloc.h"

#include <sys/types.h>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "plimsoll/alloc/base/raw_log.h"

// jemalloc's one door. Weak: absent where another malloc was linked.
extern "C" int mallctl(const char* name, void* old_value, size_t* old_size, void* new_value,
                       size_t new_size) __attribute__((weak));

// malloc.cc's. Weak: absent where another malloc was linked.
extern "C" uint64_t plimsoll_malloc_resident() __attribute__((weak));

namespace plimsoll {
namespace {

std::atomic<unsigned> arenas{0};  // 0: not configured

absl::Status Refused(std::string_view name, int error) {
  return absl::InternalError(absl::StrCat("jemalloc: mallctl ", std::string(name), ": ",
                                          std::string(base::ErrnoName(error))));
}

template <typename T>
absl::Status Set(const char* name, T value) {
  const int error = mallctl(name, nullptr, nullptr, &value, sizeof(value));
  return error == 0 ? absl::OkStatus() : Refused(name, error);
}

template <typename T>
absl::Status Get(const char* name, T& value) {
  size_t size = sizeof(value);
  const int error = mallctl(name, &value, &size, nullptr, 0);
  return error == 0 ? absl::OkStatus() : Refused(name, error);
}

}  // namespace

ProcessMallocKind FindProcessMalloc() {
  if (plimsoll_malloc_resident != nullptr) return ProcessMallocKind::kPlimsoll;
  return mallctl != nullptr ? ProcessMallocKind::kJemalloc : ProcessMallocKind::kOther;
}

std::string_view ProcessMallocName(ProcessMallocKind kind) {
  switch (kind) {
    case ProcessMallocKind::kJemalloc:
      return "jemalloc";
    case ProcessMallocKind::kPlimsoll:
      return "plimsoll";
    case ProcessMallocKind::kOther:
      break;
  }
  return "libc";
}

absl::Status ConfigureProcessMalloc(const ProcessMallocOptions& options) {
  if (!(options.cpus > 0) || std::isinf(options.cpus)) {
    return absl::InvalidArgumentError(
        absl::StrCat("process malloc: cpus ", options.cpus, " is not a positive number"));
  }
  if (FindProcessMalloc() != ProcessMallocKind::kJemalloc) return absl::OkStatus();

  unsigned made = 0;
  if (absl::Status s = Get("opt.narenas", made); !s.ok()) return s;
  const double wanted = std::ceil(options.cpus);
  const unsigned count = wanted >= made ? made : static_cast<unsigned>(wanted);
  arenas.store(count == 0 ? 1 : count, std::memory_order_relaxed);

  const bool tight = options.memory_limit.has_value() && *options.memory_limit < GiB(1);
  const ssize_t decay_ms = tight ? 1000 : 5000;
  // Arenas made from now on take the default; those that exist are told one by one.
  if (absl::Status s = Set("arenas.dirty_decay_ms", decay_ms); !s.ok()) return s;
  if (absl::Status s = Set("arenas.muzzy_decay_ms", ssize_t{0}); !s.ok()) return s;
  unsigned existing = 0;
  if (absl::Status s = Get("arenas.narenas", existing); !s.ok()) return s;
  for (unsigned i = 0; i < existing; ++i) {
    // An arena that was never used answers EFAULT; the default above is what it will take.
    (void)Set(absl::StrCat("arena.", i, ".dirty_decay_ms").c_str(), decay_ms);
    (void)Set(absl::StrCat("arena.", i, ".muzzy_decay_ms").c_str(), ssize_t{0});
  }
  bool running = false;
  if (absl::Status s = Get("background_thread", running); !s.ok()) return s;
  if (!running) {
    // One is enough, and it counts against pids.max; jemalloc refuses a change while it runs.
    if (absl::Status s = Set("max_background_threads", size_t{1}); !s.ok()) return s;
    if (absl::Status s = Set("background_thread", true); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status BindThreadToArena(unsigned ordinal) {
  const unsigned count = arenas.load(std::memory_order_relaxed);
  if (count == 0) return absl::OkStatus();
  return Set("thread.arena", ordinal % count);
}

std::optional<ByteCount> ProcessMallocResident() {
  const ProcessMallocKind kind = FindProcessMalloc();
  if (kind == ProcessMallocKind::kPlimsoll) return ByteCount(plimsoll_malloc_resident());
  if (kind != ProcessMallocKind::kJemalloc) return std::nullopt;
  // jemalloc's figures are a snapshot, taken when the epoch is advanced.
  if (!Set("epoch", uint64_t{1}).ok()) return std::nullopt;
  size_t resident = 0;
  if (!Get("stats.resident", resident).ok()) return std::nullopt;
  return ByteCount(resident);
}

}  // namespace plimsoll
