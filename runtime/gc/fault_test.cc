// Every fault that can be planted in the marker is told of within one cycle; those of a mark beside
// the program are beside_test's.

#include "plimsoll/runtime/gc/fault.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/root_table.h"
#include "plimsoll/runtime/gc/testing/fake_world.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/gc/visitor.h"

namespace plimsoll::gc {
namespace {

using internal::Fault;

struct Node {
  Ptr<Node> first;
  int64_t number = 0;
  Ptr<Node> last;
  GC_FIELDS(Node, first, last);
};

struct Traced {
  Ptr<Node> node;
  void gc_trace(Visitor& v) const { v.visit(node); }
  GC_TRACED(Traced);
};

// A heap that uses all the collector can do: each thing in it hangs by one thread.
class Heap {
 public:
  explicit Heap(uint64_t seed) : random_(seed) {
    FakeWorld::Get();
    for (int i = 0; i < 50; ++i) roots_.emplace_back(Chain());
    traced_ = make<Traced>();
    traced_->node = Chain();
    array_ = make_array<Node>(40);
    for (int i = 0; i < 40; i += 3) array_.get()[i].last = Chain();
    large_ = make_array<Ptr<Node>>(100'000);
    for (int i = 0; i < 100'000; i += 997) large_.get()[i] = Chain();
    inside_ = &make_array<Node>(8)[5];
    inside_->first = Chain();
    for (uintptr_t& word : stack_) word = reinterpret_cast<uintptr_t>(Chain());
    for (uintptr_t& word : memory_) word = reinterpret_cast<uintptr_t>(Chain());
    range_ = {reinterpret_cast<uintptr_t>(memory_), reinterpret_cast<uintptr_t>(memory_ + 8)};
    internal::AddRange(&range_);
    FakeWorld::Get().stack = stack_;
    for (int i = 0; i < 500; ++i) (void)Chain();  // and garbage
  }
  ~Heap() {
    internal::RemoveRange(&range_);
    FakeWorld::Get().stack = {};
  }

 private:
  Node* Chain() {
    Node* n = make<Node>();
    for (uint64_t i = 1 + random_() % 6; i > 0; --i) {
      Node* m = make<Node>();
      (random_() % 2 == 0 ? m->first : m->last) = n;
      n = m;
    }
    // Both ways on, so that no way is without use.
    Node* fork = make<Node>();
    fork->first = n;
    fork->last = make<Node>();
    return fork;
  }

  std::mt19937_64 random_;
  std::vector<Root<Node>> roots_;
  Root<Traced> traced_;
  Root<Node> array_;
  Root<Ptr<Node>> large_;
  Root<Node> inside_;
  uintptr_t stack_[16];
  uintptr_t memory_[8];
  internal::AmbiguousRange range_;
};

TEST(FaultTest, WithoutAFaultTheChecksAreSilent) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Heap heap(seed);
    Collect();
  }
}

class EachFaultTest : public testing::TestWithParam<int> {};

TEST_P(EachFaultTest, IsToldOfWithinOneCycle) {
  const auto fault = static_cast<Fault>(GetParam());
  const uint64_t first_seed = std::random_device()();
  for (uint64_t seed = first_seed; seed < first_seed + 20; ++seed) {
    SCOPED_TRACE(seed);
    EXPECT_EXIT(
        {
          Heap heap(seed);
          internal::SetFault(fault);
          Collect();
        },
        testing::ExitedWithCode(2), "fatal error: .*");
  }
}

INSTANTIATE_TEST_SUITE_P(, EachFaultTest,
                         testing::Range(1, static_cast<int>(internal::kFirstBeside)),
                         [](const auto& info) {
                           return std::string(internal::FaultName(static_cast<Fault>(info.param)));
                         });

TEST(FaultTest, NamesAreUniqueAndKnown) {
  for (int i = 0; i < static_cast<int>(Fault::kCount); ++i) {
    const auto fault = static_cast<Fault>(i);
    EXPECT_EQ(internal::FaultByName(internal::FaultName(fault)), fault);
  }
  EXPECT_EQ(internal::FaultByName("no_such"), Fault::kNone);
}

}  // namespace
}  // namespace plimsoll::gc
