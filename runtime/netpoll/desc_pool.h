// A DescPool keeps PollDescs for ever: an event may name one that was closed a moment ago.
//
//   chunks_  +---+---+---+--   --+
//            | o | o |   |  ...  |      index = chunk * kChunk + place in the chunk
//            +-|-+-|-+---+--   --+
//              v   v
//            PollDesc[kChunk], made when needed, never freed (invariant 1 of DESIGN.md)
//
// Threads:  any; Find takes no lock and may be called with preemption off.
#ifndef PLIMSOLL_RUNTIME_NETPOLL_DESC_POOL_H_
#define PLIMSOLL_RUNTIME_NETPOLL_DESC_POOL_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/netpoll/poll_desc.h"

namespace plimsoll::netpoll {

class DescPool {
 public:
  static constexpr uint32_t kChunk = 256;
  static constexpr uint32_t kMaxChunks = 1
                                         << 14;  // 4 Mi descriptors; the kernel's own bound is 1 Mi

  DescPool() = default;
  // Only a test's pool ever dies; the process's own is never destroyed.
  ~DescPool();
  DescPool(const DescPool&) = delete;
  DescPool& operator=(const DescPool&) = delete;

  // A fresh PollDesc with an odd sequence; null when there is no memory for one, or kMaxChunks.
  PollDesc* Acquire();

  // Takes it back. Events of the life that ends here are dropped from now on.
  void Release(PollDesc* desc);

  // The PollDesc at `index`; null if there is none.
  PollDesc* Find(uint32_t index) const;

 private:
  bool Grow();

  base::SpinLock mu_;
  PollDesc* free_ ABSL_GUARDED_BY(mu_) = nullptr;
  uint32_t chunk_count_ ABSL_GUARDED_BY(mu_) = 0;
  std::array<std::atomic<PollDesc*>, kMaxChunks> chunks_{};
};

}  // namespace plimsoll::netpoll

#endif  // PLIMSOLL_RUNTIME_NETPOLL_DESC_POOL_H_
