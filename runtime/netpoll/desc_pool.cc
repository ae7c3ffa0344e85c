#include "plimsoll/runtime/netpoll/desc_pool.h"

#include <new>

namespace plimsoll::netpoll {

DescPool::~DescPool() {
  for (const std::atomic<PollDesc*>& chunk : chunks_) {
    PollDesc* descs = chunk.load(std::memory_order_relaxed);
    if (descs == nullptr) break;
    delete[] descs;
  }
}

PollDesc* DescPool::Acquire() {
  while (true) {
    {
      sched::NoPreempt guard;
      base::SpinLockHolder hold(mu_);
      if (PollDesc* desc = free_) {
        free_ = desc->next_free_;
        desc->Reset();
        // release: who sees the odd sequence sees the fresh state
        desc->sequence_.fetch_add(1, std::memory_order_release);
        return desc;
      }
    }
    if (!Grow()) return nullptr;
  }
}

bool DescPool::Grow() {
  // With preemption on and no lock held: this is malloc.
  auto* chunk = new (std::nothrow) PollDesc[kChunk];
  if (chunk == nullptr) return false;
  PollDesc* unused = nullptr;
  bool have = true;
  {
    sched::NoPreempt guard;
    base::SpinLockHolder hold(mu_);
    if (free_ != nullptr || chunk_count_ == kMaxChunks) {
      unused = chunk;  // another thread grew the pool meanwhile, or it is full
      have = free_ != nullptr;
    } else {
      for (uint32_t i = kChunk; i-- > 0;) {
        chunk[i].index_ = chunk_count_ * kChunk + i;
        chunk[i].next_free_ = free_;
        free_ = &chunk[i];
      }
      // pairs with the acquire in Find
      chunks_[chunk_count_++].store(chunk, std::memory_order_release);
    }
  }
  delete[] unused;
  return have;
}

void DescPool::Release(PollDesc* desc) {
  desc->DisarmTimers();  // before the lock: it may wait for a timer's function
  sched::NoPreempt guard;
  base::SpinLockHolder hold(mu_);
  desc->sequence_.fetch_add(1, std::memory_order_release);
  desc->next_free_ = free_;
  free_ = desc;
}

PollDesc* DescPool::Find(uint32_t index) const {
  if (index / kChunk >= kMaxChunks) return nullptr;
  PollDesc* chunk = chunks_[index / kChunk].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : &chunk[index % kChunk];
}

}  // namespace plimsoll::netpoll
