// Fuzzes the heap beside a plain list of what it holds: bytes are operations, several caches take
// turns on one thread, every object is full of its own number, and is looked at before it goes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/heap.h"

namespace plimsoll {
namespace {

void Require(bool fact) {
  if (!fact) abort();
}

constexpr int kCaches = 3;

// Whether all bytes are `tag`; memcmp with itself one byte on, since a byte at a time is slow.
bool All(const unsigned char* p, size_t size, unsigned char tag) {
  return size == 0 || (p[0] == tag && std::memcmp(p, p + 1, size - 1) == 0);
}

struct Object {
  unsigned char* at;
  size_t size;
  size_t alignment;
  unsigned char tag;
};

class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : data_(data), end_(data + size) {}
  bool done() const { return data_ == end_; }
  unsigned Byte() { return done() ? 0 : *data_++; }
  // Small sizes often, large ones now and then.
  size_t Size() {
    const unsigned shape = Byte();
    const size_t low = Byte();
    switch (shape % 8) {
      case 0:
        return low << 9 | Byte();  // up to 128 KiB
      case 1:
        return low << 11;  // up to 512 KiB
      case 2:
        return size_t{1} << (low % 20);
      default:
        return low << (shape >> 3) % 6;
    }
  }

 private:
  const uint8_t* data_;
  const uint8_t* end_;
};

class Model {
 public:
  Model() {
    for (alloc::MCache*& cache : caches_) {
      cache = Heap::NewCache();
      Require(cache != nullptr);
    }
    Use(0);
    live_at_start_ = Heap::Stats().live.value();
  }

  ~Model() {
    while (!objects_.empty()) Free(0);
    alloc::SetCurrentCache(nullptr);
    for (alloc::MCache* cache : caches_) Heap::DeleteCache(cache);
    Heap::Step(now_ns_);
    Require(Heap::Stats().live.value() == live_at_start_);
  }

  void Run(Reader& in) {
    const unsigned op = in.Byte();
    switch (op % 16) {
      case 0:
        return Use(op >> 4);
      case 1:
        return Heap::TrimCache(caches_[(op >> 4) % kCaches]);
      case 2:
        now_ns_ += int64_t{op >> 4} * 100'000'000;
        Heap::Step(now_ns_);
        return;
      case 3:
        if (op == 3) Heap::ReleaseAll();
        return;
      case 4: {
        const size_t size = in.Size();
        auto* p = static_cast<unsigned char*>(Heap::AllocateZeroed(size));
        Require(All(p, size, 0));
        return Add(p, size, 1);
      }
      case 5: {
        const size_t alignment = size_t{1} << (op >> 4);
        const size_t size = in.Size();
        return Add(static_cast<unsigned char*>(Heap::AllocateAligned(alignment, size)), size,
                   alignment);
      }
      case 6:
        return Grow(in.Byte(), in.Size());
      case 7:
        return Replace(op >> 4);
      case 8:
      case 9:
      case 10:
      case 11:
        return Free(in.Byte());
      default: {
        const size_t size = in.Size();
        return Add(static_cast<unsigned char*>(Heap::Allocate(size)), size, 1);
      }
    }
  }

 private:
  void Use(unsigned which) {
    current_ = which % kCaches;
    alloc::SetCurrentCache(caches_[current_]);
  }

  // A P goes away, and another comes.
  void Replace(unsigned which) {
    alloc::MCache*& cache = caches_[which % kCaches];
    alloc::SetCurrentCache(nullptr);
    Heap::DeleteCache(cache);
    cache = Heap::NewCache();
    Require(cache != nullptr);
    Use(current_);
  }

  void Add(unsigned char* p, size_t size, size_t alignment) {
    Require(p != nullptr);
    const auto address = reinterpret_cast<uintptr_t>(p);
    Require(address % 16 == 0 && address % alignment == 0);
    Require(Heap::UsableSize(p) >= size);
    for (const Object& o : objects_) Require(p + size <= o.at || o.at + o.size <= p);
    std::memset(p, ++tag_, size);
    objects_.push_back({p, size, alignment, tag_});
  }

  void Look(const Object& o, size_t size) { Require(All(o.at, size, o.tag)); }

  void Grow(unsigned which, size_t size) {
    if (objects_.empty()) return;
    const size_t index = which % objects_.size();
    Object o = objects_[index];
    objects_.erase(objects_.begin() + static_cast<ptrdiff_t>(index));
    const size_t keep = o.size < size ? o.size : size;
    o.at = static_cast<unsigned char*>(Heap::Reallocate(o.at, size));
    Require(o.at != nullptr);
    Look(o, keep);
    Add(o.at, size, 1);
  }

  void Free(unsigned which) {
    if (objects_.empty()) return;
    const size_t index = which % objects_.size();
    const Object o = objects_[index];
    objects_.erase(objects_.begin() + static_cast<ptrdiff_t>(index));
    Look(o, o.size);
    if (which % 3 == 0) {
      Heap::FreeAlignedSized(o.at, o.alignment, o.size);
    } else {
      Heap::Free(o.at);
    }
  }

  alloc::MCache* caches_[kCaches];
  unsigned current_ = 0;
  std::vector<Object> objects_;
  unsigned char tag_ = 0;
  int64_t now_ns_ = 0;
  uint64_t live_at_start_ = 0;
};

}  // namespace
}  // namespace plimsoll

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  plimsoll::Model model;
  plimsoll::Reader in(data, size);
  while (!in.done()) model.Run(in);
  return 0;
}
