// Fuzzes the heap beside a plain list of what it holds: bytes are operations, several caches take
// turns on one thread, every object is full of its own number, and is looked at before it goes.
// After each operation the span map, the in-use bits, the counts by class and the page heap's
// totals are what the list says, and what ASan is told of each object is right. The first byte is
// how often an object is sampled; one sample of 32 is a guarded slot.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/heap.h"
#include "plimsoll/alloc/heap_ops.h"
#include "plimsoll/alloc/size_class.h"
#include "plimsoll/alloc/span.h"
#include "plimsoll/alloc/span_map.h"
#include "tests/fuzz/heap_look.h"

namespace plimsoll {
namespace {

using alloc::Require;

constexpr int kCaches = 3;

// So that all is in one region mostly, and a look at it short.
constexpr uint64_t kMostBytes = MiB(24).value();

// What the heap's spans say; regions are known from one input to the next, as the heap keeps them.
alloc::HeapLook& Look() {
  static auto& look = *new alloc::HeapLook;
  return look;
}

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
  explicit Model(unsigned period) {
    Heap::SetSamplePeriod(KiB(uint64_t{period} * 4));
    for (alloc::MCache*& cache : caches_) {
      cache = Heap::NewCache();
      Require(cache != nullptr);
    }
    Use(0);
    live_at_start_ = Heap::Stats().live.value();
  }

  ~Model() {
    while (!objects_.empty()) Free(0);
    Check();
    alloc::SetCurrentCache(nullptr);
    for (alloc::MCache* cache : caches_) Heap::DeleteCache(cache);
    Heap::Step(now_ns_);
    Require(Heap::Stats().live.value() == live_at_start_);
    // Nothing is left but the guarded pool.
    Look().Take({});
    Require(Look().pages == Look().guarded);
  }

  void Run(Reader& in) {
    if (bytes_ > kMostBytes) return Free(in.Byte());
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

  // The whole of the heap beside the list.
  void Check() const {
    for (alloc::MCache* cache : caches_) cache->CheckInvariants();
    alloc::core.pages.CheckInvariants();
    alloc::HeapLook& look = Look();
    look.Take({caches_[0], caches_[1], caches_[2]});

    // Each object is there, and is what it should be; there are no others.
    uint64_t objects[alloc::kClassCount] = {};
    uint64_t large = 0;
    uint64_t large_bytes = 0;
    for (const Object& o : objects_) {
      const auto address = reinterpret_cast<uintptr_t>(o.at);
      alloc::Span* span = alloc::FindSpan(address);
      Require(span != nullptr && alloc::FindSpan(address + (o.size == 0 ? 0 : o.size - 1)) == span);
      CheckPoison(o);
      if (span->state == alloc::SpanState::kGuarded) continue;
      const alloc::Shape shape = alloc::ShapeOf(o.alignment, o.size);
      if (span->class_index() == 0) {
        ++large;
        large_bytes += span->bytes();
        Require(address == span->base());
        const size_t bytes = shape.size_class == 0 ? (o.size == 0 ? 1 : o.size)
                                                   : alloc::kSizeClasses[shape.size_class].size;
        Require(span->pages == PagesFor(ByteCount(bytes)).value());
        Require(shape.size_class == 0 ||
                (span->sample != nullptr && span->sample->size_class == shape.size_class));
        if (span->sample != nullptr) {
          Require(span->sample->address == address && span->sample->size == o.size);
        }
        continue;
      }
      Require(span->class_index() == shape.size_class);
      ++objects[shape.size_class];
      const alloc::ObjectIndex at = alloc::Index(address - span->base(), span->magic());
      Require(at.at_start &&
              alloc::HeapLook::IsLive(span, at.index, {caches_[0], caches_[1], caches_[2]}));
    }
    Require(look.large == large && look.large_bytes == large_bytes);
    for (size_t c = 1; c < alloc::kClassCount; ++c) Require(look.objects[c] == objects[c]);

    // What the heap tells of itself, and the page heap's totals.
    const HeapStats s = Heap::Stats();
    uint64_t live = large_bytes;
    for (size_t c = 1; c < alloc::kClassCount; ++c) {
      const alloc::SizeClass& k = alloc::kSizeClasses[c];
      Require(s.classes[c].spans == look.spans[c] && s.classes[c].objects == look.in_use[c]);
      Require(s.classes[c].capacity == look.spans[c] * k.objects);
      live += look.in_use[c] * k.size;
    }
    Require(s.live.value() == live && s.large.value() == large_bytes && s.large_objects == large);
    // The pool's guard pages, one more than slots, are in use and no span's.
    const uint64_t guards = look.guarded == 0 ? 0 : look.guarded + 1;
    Require(s.in_spans.value() == (look.pages + guards) << kPageShift);
    Require(s.mapped.value() == s.in_spans.value() + s.idle.value() + s.released.value());
    Require(s.caches == kCaches);
  }

 private:
  // An object may be touched, and what lies behind it within its class may not. That a free one may
  // not is heap_poison_test's.
  static void CheckPoison(const Object& o) {
    if (!base::kAsan) return;
    Require(!base::AnyPoisoned(o.at, o.size));
    const size_t usable = alloc::UsableSize("usable size", o.at);
    Require(usable >= o.size && (usable == o.size || base::AnyPoisoned(o.at + o.size, 1)));
  }

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
    Look().AddRegions(p);
    bytes_ += size;
    for (const Object& o : objects_) Require(p + size <= o.at || o.at + o.size <= p);
    std::memset(p, ++tag_, size);
    objects_.push_back({p, size, alignment, tag_});
  }

  void Grow(unsigned which, size_t size) {
    if (objects_.empty()) return;
    if (size == 0) size = 1;  // as Reallocate has it
    const size_t index = which % objects_.size();
    Object o = objects_[index];
    objects_.erase(objects_.begin() + static_cast<ptrdiff_t>(index));
    bytes_ -= o.size;
    const size_t keep = o.size < size ? o.size : size;
    o.at = static_cast<unsigned char*>(Heap::Reallocate(o.at, size));
    Require(o.at != nullptr);
    Require(All(o.at, keep, o.tag));
    Add(o.at, size, 1);
  }

  void Free(unsigned which) {
    if (objects_.empty()) return;
    const size_t index = which % objects_.size();
    const Object o = objects_[index];
    objects_.erase(objects_.begin() + static_cast<ptrdiff_t>(index));
    bytes_ -= o.size;
    Require(All(o.at, o.size, o.tag));
    if (which % 3 == 0) {
      Heap::FreeAlignedSized(o.at, o.alignment, o.size);
    } else {
      Heap::Free(o.at);
    }
  }

  alloc::MCache* caches_[kCaches];
  unsigned current_ = 0;
  std::vector<Object> objects_;
  uint64_t bytes_ = 0;  // in them
  unsigned char tag_ = 0;
  int64_t now_ns_ = 0;
  uint64_t live_at_start_ = 0;
};

}  // namespace
}  // namespace plimsoll

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 600) return 0;  // each step looks at everything
  plimsoll::Model model(data[0]);
  plimsoll::Reader in(data + 1, size - 1);
  while (!in.done()) {
    model.Run(in);
    model.Check();
  }
  return 0;
}
