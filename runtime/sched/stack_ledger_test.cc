// The ledger of ended goroutines' stacks.

#include <atomic>
#include <cstring>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stack_use.h"

namespace plimsoll::sched {
namespace {

__attribute__((noinline, no_sanitize("address"))) int Deep(int kib) {
  volatile char room[1024];
  room[0] = static_cast<char>(kib);
  room[1023] = static_cast<char>(kib);
  return kib <= 1 ? room[0] : Deep(kib - 1) + room[1023];
}

EndedStacks KindOf(std::string_view label) {
  EndedStacks kind;
  for (size_t i = 0; EndedKind(i, &kind); ++i) {
    if (kind.label == label) return kind;
  }
  return {};
}

// Runs `n` goroutines one after the other, each `kib` KiB deep, and waits until the ledger has
// them.
void RunSome(int n, int kib, std::string_view label) {
  const uint64_t before = KindOf(label).goroutines;
  for (int i = 0; i < n; ++i) {
    Go([kib] { Deep(kib); }, {.label = label});
    while (KindOf(label).goroutines != before + static_cast<uint64_t>(i) + 1) Yield();
  }
}

class StackLedgerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!StackUses().known()) GTEST_SKIP() << "this kernel does not tell what is touched";
  }
};

TEST_F(StackLedgerTest, EachKindHasItsOwnDepthWhoeverHadTheStackBefore) {
  RunSome(3, 150, "deep");
  RunSome(20, 4, "shallow");
  RunSome(3, 80, "deep");
  const EndedStacks deep = KindOf("deep");
  const EndedStacks shallow = KindOf("shallow");
  EXPECT_EQ(deep.goroutines, 6u);
  EXPECT_GE(deep.deepest, uint64_t{150} << 10);
  EXPECT_LE(deep.deepest, deep.size);
  EXPECT_EQ(shallow.goroutines, 20u);
  EXPECT_GE(shallow.deepest, uint64_t{4} << 10);
  EXPECT_LE(shallow.deepest, uint64_t{60} << 10) << "on the stacks of the deep ones";
  ASSERT_NE(deep.entry, nullptr);
  EXPECT_EQ(deep.entry, shallow.entry);
  EntryNames names;
  EXPECT_NE(names.NameOf(deep.entry).find("RunSome"), std::string_view::npos)
      << names.NameOf(deep.entry);
}

TEST_F(StackLedgerTest, ALiveOneShowsItsOwnDepthToo) {
  RunSome(3, 150, "deep before");
  std::atomic<G*> parked{nullptr};
  std::atomic<bool> ended{false};
  for (int i = 0; i < 2; ++i) {  // one on each stack that may be warm
    Go(
        [&] {
          Park(
              WaitReason::kChanReceive,
              [](G* g, void* arg) {
                static_cast<std::atomic<G*>*>(arg)->store(g);
                return true;
              },
              &parked);
          ended = true;
        },
        {.label = "live"});
    while (parked == nullptr) Yield();
    StackUses uses;
    StackUse found[64];
    bool seen = false;
    while (const size_t n = uses.Next(found, 64)) {
      for (size_t k = 0; k < n; ++k) {
        if (std::string_view(found[k].label) != "live") continue;
        seen = true;
        EXPECT_LE(found[k].deepest, uint64_t{60} << 10);
        EXPECT_LE(found[k].now, found[k].deepest);
      }
    }
    EXPECT_TRUE(seen);
    Ready(parked.exchange(nullptr));
    while (!ended.exchange(false)) Yield();
  }
}

TEST_F(StackLedgerTest, BeyondItsRoomAllOthersAreOneKind) {
  uint64_t ended = 0;
  for (int i = 0; i < 600; ++i) {
    const std::string label = "kind " + std::to_string(i);
    Go([] { Deep(2); }, {.label = label});
  }
  EndedStacks last;
  do {
    Yield();
    ended = 0;
    EndedStacks kind;
    for (size_t i = 0; EndedKind(i, &kind); ++i) {
      if (std::string_view(kind.label).starts_with("kind ") || kind.entry == nullptr) {
        ended += kind.goroutines;
      }
      last = kind;
    }
  } while (ended != 600);
  EXPECT_EQ(last.entry, nullptr) << "those that had no room come last";
  EXPECT_GT(last.goroutines, 0u);
  EXPECT_GT(last.deepest, 0u);
}

}  // namespace
}  // namespace plimsoll::sched

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  static int exit_code = 0;
  auto run = [] { exit_code = RUN_ALL_TESTS(); };
  plimsoll::sched::KeepStackLedger();
  plimsoll::sched::Run({.procs = 2}, plimsoll::internal::kEntryOps<decltype(run)>, &run,
                       &exit_code);
}
