// The process's general malloc beside our heap: jemalloc, sized by the quota and not by the host.
//
//   absl::Status s = ConfigureProcessMalloc({.cpus = 1.5, .memory_limit = MiB(128)});
//   if (!s.ok()) RawLog("plimsoll: ", s.message());        // a report line; the service goes on
//   BindThreadToArena(m->id);                              // once on every thread that is made
//   std::optional<ByteCount> held = ProcessMallocResident();
//
// Which:    chosen when a binary is linked, by plimsoll_static_binary(malloc = "jemalloc"), which
//           is the default, "plimsoll" or "libc"; found at run time. Ours needs no configuring, and
//           the libc's or a sanitizer's is left alone.
// Arenas:   jemalloc makes four for every CPU of the host. Its count cannot be lowered once it
//           runs, so threads are bound to the first ceil(cpus) of them.
// Decay:    dirty pages go back after 1 s when the limit is below 1 GiB, else after 5 s, by one
//           background thread; limits may change while running, and Configure may be called again.
// Blocking: Configure may start a thread: not beneath malloc, not in handlers.
// Threads:  any.
#ifndef PLIMSOLL_ALLOC_PROCESS_MALLOC_H_
#define PLIMSOLL_ALLOC_PROCESS_MALLOC_H_

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "plimsoll/alloc/base/units.h"

namespace plimsoll {

struct ProcessMallocOptions {
  double cpus = 1;                                       // the quota; rounded up to whole arenas
  std::optional<ByteCount> memory_limit = std::nullopt;  // nullopt: none
};

enum class ProcessMallocKind { kJemalloc, kPlimsoll, kOther };

// Which malloc the process runs on.
ProcessMallocKind FindProcessMalloc();
std::string_view ProcessMallocName(ProcessMallocKind kind);

// Sets arenas, decay and the background thread. OK and without effect where malloc is not jemalloc.
// Not OK: the setting that jemalloc refused, by its mallctl name; those before it hold.
// kInvalidArgument: `cpus` is not a positive number.
absl::Status ConfigureProcessMalloc(const ProcessMallocOptions& options);

// Binds the calling thread to arena `ordinal` modulo the configured count; before Configure, or
// without jemalloc, does nothing. Not OK: as Configure.
absl::Status BindThreadToArena(unsigned ordinal);

// Bytes of memory that malloc holds now, its caches and metadata included: what a memory limit must
// charge. nullopt: this malloc does not tell.
std::optional<ByteCount> ProcessMallocResident();

}  // namespace plimsoll

#endif  // PLIMSOLL_ALLOC_PROCESS_MALLOC_H_
