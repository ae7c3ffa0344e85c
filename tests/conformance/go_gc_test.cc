// What Go's gc_test.go and malloc_test.go assert, written anew (go_gc_tests.md says which is
// where).

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/hash_map.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/weak.h"
#include "plimsoll/runtime/gc_world.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/procs.h"

namespace plimsoll {
namespace {

class GoGcTest : public testing::Test {
 protected:
  GoGcTest() {
    static const bool started = (StartCollector({.checkmark = true, .verify = true}), true);
    (void)started;
  }
  ~GoGcTest() override {
    gc::SetGoGc(100);
    sched::SetProcs({.procs = 2});
  }
};

// GcSys: garbage is no reason to take more of the system.
TEST_F(GoGcTest, AHundredThousandPiecesOfGarbageTakeNoMoreThan16MiB) {
  sched::SetProcs({.procs = 1});
  gc::Collect();
  const uint64_t before = gc::GetStats().span_bytes;
  gc::Root<char> sink;
  for (int i = 0; i < 100'000; ++i) sink = gc::make_noscan<char>(1029);
  const uint64_t after = gc::GetStats().span_bytes;
  EXPECT_LE(after, before + (uint64_t{16} << 20));
}

// GcDeepNesting: a pointer ten arrays deep is found.
template <typename T, size_t kDepth>
struct Nested {
  using type = std::array<typename Nested<T, kDepth - 1>::type, 2>;
};
template <typename T>
struct Nested<T, 0> {
  using type = T;
};
struct Deep {
  Nested<gc::Ptr<int64_t>, 10>::type a;
  GC_FIELDS(Deep, a);
};
TEST_F(GoGcTest, APointerTenArraysDeepIsFound) {
  const gc::Root<Deep> deep = gc::make<Deep>();
  gc::Ptr<int64_t>& innermost = deep->a[0][0][0][0][0][0][0][0][0][0];
  gc::Ptr<int64_t>& last = deep->a[1][1][1][1][1][1][1][1][1][1];
  innermost = gc::make<int64_t>(13);
  last = gc::make<int64_t>(14);
  gc::Collect();
  for (int i = 0; i < 100; ++i) (void)gc::make<int64_t>(0);
  EXPECT_EQ(*innermost, 13);
  EXPECT_EQ(*last, 14);
}

// GcMapIndirection: large keys and values, a collection always due.
struct Large {
  std::array<int64_t, 256> a;
  GC_NOSCAN(Large);
  friend bool operator==(const Large& x, const Large& y) { return x.a == y.a; }
};
}  // namespace
}  // namespace plimsoll

template <>
struct std::hash<plimsoll::Large> {
  size_t operator()(const plimsoll::Large& l) const { return std::hash<int64_t>()(l.a[0]); }
};

namespace plimsoll {
namespace {

struct Holder {
  gc::hash_map<Large, Large> map;
  GC_FIELDS(Holder, map);
};
TEST_F(GoGcTest, AMapOfLargeKeysAndValuesGrowsWhileACollectionIsAlwaysDue) {
  gc::SetGoGc(1);
  gc::Collect();
  const gc::Root<Holder> holder = gc::make<Holder>();
  constexpr int64_t kEntries = 2000;
  for (int64_t i = 0; i < kEntries; ++i) holder->map[Large{{i}}] = Large{{-i}};
  for (int64_t i = 0; i < kEntries; ++i) {
    const Large* value = holder->map.find(Large{{i}});
    ASSERT_NE(value, nullptr) << i;
    ASSERT_EQ(value->a[0], -i);
  }
}

// GcArraySlice: who points into an object keeps all of it.
struct Slices {
  std::array<char, 1> buf{};
  gc::Ptr<char> next_buf;
  gc::Ptr<Slices> next;
  GC_FIELDS(Slices, next_buf, next);
};
TEST_F(GoGcTest, APointerToAFieldKeepsTheWholeObject) {
  gc::Root<Slices> head;
  gc::Root<char> bytes;  // the last but one is held by its byte alone
  for (int i = 0; i < 10; ++i) {
    Slices* p = gc::make<Slices>();
    p->buf[0] = 42;
    p->next = head;
    if (head != nullptr) p->next_buf = head->buf.data();
    head = p;
    gc::Collect();
  }
  for (const Slices* p = head; p != nullptr; p = p->next) {
    EXPECT_EQ(p->buf[0], 42);
    EXPECT_EQ(p->next_buf.get(), p->next != nullptr ? p->next->buf.data() : nullptr);
  }
  bytes = head->buf.data();
  head = nullptr;
  gc::Collect();
  for (int i = 0; i < 100; ++i) (void)gc::make<Slices>();
  const auto* of = reinterpret_cast<const Slices*>(bytes.get());  // buf is its first field
  EXPECT_EQ(of->buf[0], 42);
  EXPECT_EQ(*of->next_buf, 42);
}

// GcRescan: chains by a field's address and by the object's, grown one by one between cycles.
struct Inner {
  gc::Ptr<Inner> next_inner;
  GC_FIELDS(Inner, next_inner);
};
struct Outer {
  int64_t before = 0;
  Inner inner;
  gc::Ptr<Outer> next_outer;
  gc::Ptr<int64_t> p;
  GC_FIELDS(Outer, inner, next_outer, p);
};
TEST_F(GoGcTest, ChainsThroughFieldsOfFieldsAreFollowed) {
  gc::Root<Outer> head;
  for (int i = 0; i < 10; ++i) {
    Outer* p = gc::make<Outer>();
    if (head != nullptr) p->inner.next_inner = &head->inner;
    p->next_outer = head;
    p->p = gc::make<int64_t>(42);
    head = p;
    gc::Collect();
  }
  int length = 0;
  for (const Outer* p = head; p != nullptr; p = p->next_outer) {
    EXPECT_EQ(*p->p, 42);
    ++length;
  }
  EXPECT_EQ(length, 10);
  length = 0;
  for (const Inner* p = &head->inner; p != nullptr; p = p->next_inner) ++length;
  EXPECT_EQ(length, 10);
}

// GCTestIsReachable: what is kept is there after a cycle, and what is not is not.
struct Thing {
  int64_t number = 0;
  gc::Ptr<Thing> next;
  GC_FIELDS(Thing, next);
};
using Weaks = std::array<gc::Weak<Thing>, 16>;
__attribute__((noinline)) void MakeThings(Weaks& all, std::vector<gc::Root<Thing>>& half) {
  for (size_t i = 0; i < all.size(); ++i) {
    Thing* thing = gc::make<Thing>();
    all[i] = gc::Weak<Thing>(thing);
    if (i % 2 == 0) half.emplace_back(thing);
  }
}
// Nothing of MakeThings' is left on the stack.
__attribute__((noinline)) void Overwrite() {
  volatile char below[16 << 10];
  for (size_t i = 0; i < sizeof below; ++i) below[i] = 0;
}
TEST_F(GoGcTest, OfSixteenThingsTheEightThatAreHeldAreReachable) {
  Weaks all;
  std::vector<gc::Root<Thing>> half;
  // In a goroutine of its own, whose stack is gone then.
  Channel<int> done;
  Go([&] {
    MakeThings(all, half);
    done.Send(1);
  });
  (void)done.Recv();
  Overwrite();
  gc::Collect();
  std::string reachable;
  for (const gc::Weak<Thing>& weak : all) reachable += weak.lock() != nullptr ? '1' : '0';
  EXPECT_EQ(reachable, "1010101010101010");
}

// UserForcedGC: also with GOGC=off, and it is counted.
TEST_F(GoGcTest, ACycleThatIsAskedForRunsAndIsCountedWhenGoGcIsOff) {
  gc::SetGoGc(-1);
  gc::Collect();  // one that was due before is over
  const gc::Stats before = gc::GetStats();
  gc::Collect();
  const gc::Stats after = gc::GetStats();
  EXPECT_EQ(after.cycles, before.cycles + 1);
  EXPECT_EQ(after.forced, before.forced + 1);
}

// MemStats: what the numbers must be among themselves.
TEST_F(GoGcTest, TheStatisticsAgreeWithEachOther) {
  const gc::Stats before = gc::GetStats();
  gc::Root<Thing> keep;
  for (int i = 0; i < 100'000; ++i) {
    Thing* thing = gc::make<Thing>();
    if (i % 10 == 0) {
      thing->next = keep;
      keep = thing;
    }
  }
  gc::Collect();
  const gc::Stats s = gc::GetStats();
  EXPECT_GE(s.allocated_bytes, before.allocated_bytes + 100'000 * sizeof(Thing));
  EXPECT_GE(s.live_objects, 10'000u);
  EXPECT_GE(s.live_bytes, 10'000 * sizeof(Thing));
  EXPECT_LE(s.live_bytes, s.heap_bytes);
  EXPECT_LE(s.live_bytes, s.span_bytes);
  EXPECT_LE(s.heap_bytes, s.allocated_bytes);
  EXPECT_GE(s.goal_bytes, s.live_bytes);
  EXPECT_LE(s.forced, s.cycles);
  EXPECT_LE(s.stopped_ns, s.max_stopped_ns);
  EXPECT_LE(s.stopping_ns, s.max_stopping_ns);
  EXPECT_LE(s.max_stopped_ns, s.total_stopped_ns);
  gc::Pause pauses[4];
  const size_t n = gc::RecentPauses(pauses, 4);
  ASSERT_GE(n, 1u);
  EXPECT_EQ(pauses[0].stopped_ns, s.stopped_ns);  // the newest comes first
}

}  // namespace
}  // namespace plimsoll
