#include "plimsoll/runtime/gc/verify.h"

#include <algorithm>
#include <new>

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/collectable.h"
#include "plimsoll/runtime/gc/marker.h"

namespace plimsoll::gc::internal {
namespace {

using alloc::FindObject;
using alloc::IsMarked;
using alloc::Layout;
using alloc::Object;

// Memory for `bytes`, of the system.
void* MapOrDie(size_t bytes) {
  alloc::MmapPages pages;
  const alloc::Mapping m = pages.Map(ByteCount((bytes + 4095) & ~size_t{4095}), ByteCount(4096), 0);
  if (m.base == nullptr) base::Fatal("gc: no memory to walk the heap: ", bytes, " bytes");
  return m.base;
}
void Unmap(void* p, size_t bytes) {
  alloc::MmapPages().Unmap(p, ByteCount((bytes + 4095) & ~size_t{4095}));
}

// What was reached, each with the word that it was reached from (0: a root), in the order of
// coming.
class Reached {
 public:
  Reached() { Allocate(size_t{1} << 16); }
  ~Reached() { Free(); }
  Reached(const Reached&) = delete;
  Reached& operator=(const Reached&) = delete;

  // True: it is new.
  bool Add(uintptr_t object, uintptr_t from) {
    if ((count_ + 1) * 2 > capacity_) Grow();
    uintptr_t& slot = *Find(object);
    if (slot != 0) return false;
    slot = count_ + 1;
    order_[count_++] = {object, from};
    return true;
  }
  size_t size() const { return count_; }
  uintptr_t object(size_t i) const { return order_[i].object; }
  uintptr_t From(uintptr_t object) { return order_[*Find(object) - 1].from; }

 private:
  struct Entry {
    uintptr_t object;
    uintptr_t from;
  };

  // The slot of `object`, or where it would be: its number in order_ plus one; 0: none.
  uintptr_t* Find(uintptr_t object) {
    for (size_t i = (object >> 4) * 0x9E3779B97F4A7C15u >> 16;; ++i) {
      uintptr_t* slot = &table_[i & (capacity_ - 1)];
      if (*slot == 0 || order_[*slot - 1].object == object) return slot;
    }
  }
  void Allocate(size_t capacity) {
    capacity_ = capacity;
    table_ = static_cast<uintptr_t*>(MapOrDie(capacity * sizeof(uintptr_t)));
    order_ = static_cast<Entry*>(MapOrDie(capacity / 2 * sizeof(Entry)));
  }
  void Free() {
    Unmap(table_, capacity_ * sizeof(uintptr_t));
    Unmap(order_, capacity_ / 2 * sizeof(Entry));
  }
  void Grow() {
    uintptr_t* table = table_;
    Entry* order = order_;
    const size_t capacity = capacity_;
    Allocate(capacity * 2);
    for (size_t i = 0; i < count_; ++i) {
      order_[i] = order[i];
      *Find(order[i].object) = i + 1;
    }
    Unmap(table, capacity * sizeof(uintptr_t));
    Unmap(order, capacity / 2 * sizeof(Entry));
  }

  uintptr_t* table_ = nullptr;
  Entry* order_ = nullptr;
  size_t capacity_ = 0;
  size_t count_ = 0;
};

const char* NameOf(const Object& o) { return o.span->shape->layout.name; }

struct Check final : RangeSink {
  Reached reached;
  uintptr_t from = 0;
  bool marked_by_now = true;  // whether what is reached must be marked already
  uintptr_t wanted = 0;       // FindWay's
  bool found = false;

  void Reach(uintptr_t word) {
    Object o;
    if (found || !FindObject(word, &o) || !reached.Add(o.base(), from)) return;
    if (o.base() == wanted) found = true;
    if (marked_by_now && !IsMarked(o)) Report(o);
  }

  void Scan(uintptr_t lo, uintptr_t hi) override {
    // Through the marker's plain reader: any word, whatever a sanitizer thinks of it.
    static constexpr uint64_t kAll = 1;
    static const alloc::ObjectShape kWord{
        .layout = {.kind = Layout::Kind::kMask, .element_words = 1, .mask = &kAll},
        .size_class = 1,
        .object_bytes = sizeof(uintptr_t),
        .mask0 = 1};
    for (uintptr_t at = (lo + 7) & ~uintptr_t{7}; at + sizeof(uintptr_t) <= hi;
         at += sizeof(uintptr_t)) {
      ForEachWord(
          {at, &kWord},
          [](void* to, uintptr_t word, uintptr_t where) {
            auto* check = static_cast<Check*>(to);
            if (check->wanted != 0) check->from = where;
            check->Reach(word);
          },
          this);
    }
    from = 0;
  }

  [[noreturn]] void Report(const Object& lost) {
    base::RawText text;
    text.Add("gc: checkmark: ");
    text.Add(base::Hex(lost.base()));
    text.Add(" (");
    text.Add(NameOf(lost));
    text.Add(", ");
    text.Add(lost.bytes());
    text.Add(" bytes) is reachable and not marked");
    uintptr_t word = from;
    for (int hops = 0; word != 0 && hops < 8; ++hops) {
      Object holder;
      if (!FindObject(word, &holder)) break;
      text.Add("; from word ");
      text.Add((word - holder.base()) / sizeof(uintptr_t));
      text.Add(" of ");
      text.Add(base::Hex(holder.base()));
      text.Add(" (");
      text.Add(NameOf(holder));
      text.Add(")");
      word = reached.From(holder.base());
    }
    if (word == 0) text.Add("; from a root");
    base::FatalText(text);
  }
};

// Scans one object as its shape says, a large one in its pieces.
void ScanPlainly(const Object& o, void (*f)(void*, uintptr_t, uintptr_t), void* arg) {
  const uintptr_t end = o.base() + o.bytes();
  Grey grey{o.base(), o.span->shape};
  while (grey.address < end) {
    ForEachWord(grey, f, arg);
    if (grey.shape->layout.kind != Layout::Kind::kMask) return;
    grey.address = EndOf(grey);
  }
}

}  // namespace

namespace {

void ReachAll(Check& check, RootsFn roots, void* arg) {
  roots(
      arg, [](uintptr_t address, void* to) { static_cast<Check*>(to)->Reach(address); }, &check,
      check);
  // What was reached is its own queue.
  for (size_t i = 0; i < check.reached.size() && !check.found; ++i) {
    Object o;
    if (!FindObject(check.reached.object(i), &o)) continue;
    ScanPlainly(
        o,
        [](void* to, uintptr_t word, uintptr_t at) {
          auto* c = static_cast<Check*>(to);
          c->from = at;
          c->Reach(word);
        },
        &check);
  }
}

// What was reachable when the mark beside the program began.
alignas(Check) constinit char snapshot_memory[sizeof(Check)] = {};
constinit Check* snapshot = nullptr;

}  // namespace

void CheckMarks(RootsFn roots, void* arg) {
  Check check;
  ReachAll(check, roots, arg);
}

void FindWay(RootsFn roots, void* arg, uintptr_t object, Way& way) {
  Check check;
  check.marked_by_now = false;
  check.wanted = object;
  ReachAll(check, roots, arg);
  way.found = check.found;
  Object o;
  uintptr_t word = object;
  while (check.found && FindObject(word, &o)) {
    if (way.length < Way::kMost) {
      way.steps[way.length] = {o.base(), NameOf(o), o.bytes(),
                               (word - o.base()) / sizeof(uintptr_t)};
    }
    ++way.length;
    word = check.reached.From(o.base());
  }
  way.root = word;
}

void TakeSnapshot(RootsFn roots, void* arg) {
  snapshot = ::new (snapshot_memory) Check();
  snapshot->marked_by_now = false;
  ReachAll(*snapshot, roots, arg);
}

void CheckSnapshot() {
  for (size_t i = 0; i < snapshot->reached.size(); ++i) {
    const uintptr_t object = snapshot->reached.object(i);
    Object o;
    if (!FindObject(object, &o)) {
      base::Fatal("gc: checkmark: ", base::Hex(object),
                  " was reachable when the mark began, and is in use no more");
    }
    if (IsMarked(o)) continue;
    snapshot->from = snapshot->reached.From(object);
    snapshot->Report(o);
  }
  snapshot->~Check();
  snapshot = nullptr;
}

void VerifyHeap() {
  struct Walk {
    Object object;
    uintptr_t at;  // the next word that is not looked at
  };
  alloc::ForEachObject(
      [](const Object& o, void*) {
        if (!IsMarked(o)) return;
        const Layout& layout = o.span->shape->layout;
        if (layout.kind == Layout::Kind::kNoscan) return;
        Walk walk{o, o.base()};
        // Words that no mask names: between walk.at and `at`.
        static constexpr auto kUnmapped = [](Walk& w, uintptr_t to) {
          if (w.object.span->shape->layout.kind == Layout::Kind::kTraced) return;
          static constexpr uint64_t kAll = 1;
          static const alloc::ObjectShape kWord{
              .layout = {.kind = Layout::Kind::kMask, .element_words = 1, .mask = &kAll},
              .size_class = 1,
              .object_bytes = sizeof(uintptr_t),
              .mask0 = 1};
          for (; w.at < to; w.at += sizeof(uintptr_t)) {
            ForEachWord(
                {w.at, &kWord},
                [](void* arg, uintptr_t word, uintptr_t at) {
                  const Object& holder = static_cast<Walk*>(arg)->object;
                  Object target;
                  if (!FindObject(word, &target) || IsMarked(target)) return;
                  base::Fatal("gc: verify: word ", (at - holder.base()) / sizeof(uintptr_t), " of ",
                              base::Hex(holder.base()), " (", NameOf(holder),
                              ") is not mapped, and holds the address of ",
                              base::Hex(target.base()), " (", NameOf(target),
                              "), which nothing else holds: is it missing in GC_FIELDS?");
                },
                &w);
          }
        };
        ScanPlainly(
            o,
            [](void* arg, uintptr_t word, uintptr_t at) {
              auto& w = *static_cast<Walk*>(arg);
              kUnmapped(w, at);
              w.at = at + sizeof(uintptr_t);
              if (word == 0) return;
              Object target;
              const Object& holder = w.object;
              if (!FindObject(word, &target)) {
                const alloc::Span* span = alloc::FindSpan(word);
                if (span == nullptr || span->state != alloc::SpanState::kCollected) return;
                base::Fatal("gc: verify: word ", (at - holder.base()) / sizeof(uintptr_t), " of ",
                            base::Hex(holder.base()), " (", NameOf(holder), ") is ",
                            base::Hex(word), ", a free object of ", span->shape->layout.name);
              }
              if (!IsMarked(target)) {
                base::Fatal("gc: verify: word ", (at - holder.base()) / sizeof(uintptr_t), " of ",
                            base::Hex(holder.base()), " (", NameOf(holder),
                            "), which is marked, leads to ", base::Hex(target.base()), " (",
                            NameOf(target), "), which is not");
              }
            },
            &walk);
        kUnmapped(walk, o.base() + o.bytes());
      },
      nullptr);
}

}  // namespace plimsoll::gc::internal
