#include "plimsoll/alloc/heap_debug.h"

#include <cstring>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll::alloc {
namespace {

constexpr unsigned char kFresh = 0xa5;
constexpr unsigned char kFreed = 0xdd;
constexpr unsigned char kCanary = 0xc5;
constexpr uint64_t kFreedTail = 0xdeadbea7dead0000u;

uint64_t KeyOf(const void* p) {
  return (reinterpret_cast<uintptr_t>(p) ^ 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
}

uint64_t LoadTail(const void* p, size_t usable) {
  uint64_t tail;
  std::memcpy(&tail, static_cast<const char*>(p) + usable - sizeof(tail), sizeof(tail));
  return tail;
}

void StoreTail(void* p, size_t usable, uint64_t tail) {
  std::memcpy(static_cast<char*>(p) + usable - sizeof(tail), &tail, sizeof(tail));
}

// The first byte of [from, to) that is not `byte`; `to` when all are.
size_t FirstOther(const void* p, size_t from, size_t to, unsigned char byte) {
  const auto* bytes = static_cast<const unsigned char*>(p);
  while (from < to && bytes[from] == byte) ++from;
  return from;
}

}  // namespace

void* HeapDebug::Dress(void* p, size_t usable, size_t size, bool zeroed,
                       const HeapSettings& settings) {
  if (settings.junk && !zeroed) std::memset(p, kFresh, size);
  std::memset(static_cast<char*>(p) + size, kCanary, usable - sizeof(uint64_t) - size);
  StoreTail(p, usable, size ^ KeyOf(p));
  return p;
}

size_t HeapDebug::SizeOf(const char* call, const void* p, size_t usable) const {
  const uint64_t tail = LoadTail(p, usable) ^ KeyOf(p);
  if (tail == kFreedTail) {
    base::Fatal(call, ": double free of ", base::Hex(p), ": it is in quarantine");
  }
  if (tail > usable - kExtra / 2) {
    base::Fatal(call, ": ", base::Hex(p),
                ": overflow: what lies behind the object was written over");
  }
  return tail;
}

size_t HeapDebug::Undress(const char* call, void* p, size_t usable, const HeapSettings& settings,
                          void* (&out)[kMostOut]) {
  const size_t size = SizeOf(call, p, usable);
  if (settings.canary) {
    const size_t end = usable - sizeof(uint64_t);
    const size_t bad = FirstOther(p, size, end, kCanary);
    if (bad != end) {
      base::Fatal(call, ": ", base::Hex(p), ": overflow: a byte was written ", bad - size,
                  " past the end of an object of ", base::Counted{size, "byte"});
    }
  }
  if (settings.junk || settings.quarantine) std::memset(p, kFreed, size);
  StoreTail(p, usable, kFreedTail ^ KeyOf(p));
  if (!settings.quarantine) {
    out[0] = p;
    return 1;
  }
  Entry leaving[kMostOut];
  size_t n = 0;
  {
    base::SpinLockHolder hold(mu_);
    if (count_ == kQueue) {
      leaving[n++] = queue_[first_];
      bytes_ -= queue_[first_].usable;
      first_ = (first_ + 1) % kQueue;
      --count_;
    }
    queue_[(first_ + count_++) % kQueue] = {p, usable, size};
    bytes_ += usable;
    while (n < kMostOut && count_ > 0 && bytes_ > settings.quarantine_bytes) {
      leaving[n++] = queue_[first_];
      bytes_ -= queue_[first_].usable;
      first_ = (first_ + 1) % kQueue;
      --count_;
    }
  }
  for (size_t i = 0; i < n; ++i) {
    const Entry& e = leaving[i];
    const size_t bad = FirstOther(e.p, 0, e.size, kFreed);
    if (bad != e.size || LoadTail(e.p, e.usable) != (kFreedTail ^ KeyOf(e.p))) {
      base::Fatal("heap: write after free: ", base::Hex(e.p), ", an object of ", e.size,
                  " bytes, was written to after it was freed, ", bad, " bytes from its start");
    }
    out[i] = e.p;
  }
  return n;
}

}  // namespace plimsoll::alloc
