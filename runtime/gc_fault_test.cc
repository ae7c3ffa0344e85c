// Every fault of runtime/gc/fault.h that can be planted in the collector is told of under the real
// scheduler: goroutines on two Ps with stacks of their own, two of which change the heap without
// pause. The fault is planted as a user would, by PLIMSOLL_DEBUG's gcfault=NAME, with checkmark and
// the verifier on; each run is a process of its own.
//
// PLIMSOLL_TEST_RUNS says how often each is planted; once else.

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/debug_text.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/finalized.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/gc/visitor.h"
#include "plimsoll/runtime/gc/weak.h"
#include "plimsoll/runtime/gc_world.h"
#include "plimsoll/runtime/go.h"

namespace plimsoll {
namespace {

struct Link {
  gc::Ptr<Link> first;
  int64_t number = 0;
  gc::Ptr<Link> last;
  GC_FIELDS(Link, first, last);
};

struct Traced {
  gc::Ptr<Link> link;
  void gc_trace(gc::Visitor& v) const { v.visit(link); }
  GC_TRACED(Traced);
};

struct Mortal {
  gc::Ptr<Link> link;
  GC_FIELDS(Mortal, link);
  ~Mortal() { asm volatile(""); }
};

// Each thing in it hangs by one thread, which the collector must not cut.
class Heap {
 public:
  // `half_stores`: and a goroutine that the start of a mark finds within a barrier.
  explicit Heap(bool half_stores) : random_(std::random_device()()) {
    for (int i = 0; i < 50; ++i) roots_.emplace_back(Chain());
    traced_ = gc::make<Traced>();
    traced_->link = Chain();
    array_ = gc::make_array<Link>(40);
    for (int i = 0; i < 40; i += 3) array_.get()[i].last = Chain();
    large_ = gc::make_array<gc::Ptr<Link>>(100'000);
    for (int i = 0; i < 100'000; i += 997) large_.get()[i] = Chain();
    inside_ = &gc::make_array<Link>(8)[5];
    inside_->first = Chain();
    for (int i = 0; i < 8; ++i) sent_.Send(gc::Ptr<Link>(Chain()));
    cells_ = gc::make_array<gc::Ptr<Link>>(kCells);
    for (size_t i = 0; i < kCells; ++i) cells_.get()[i] = Chain();
    halves_ = gc::make_array<gc::Ptr<Link>>(kCells);
    for (size_t i = 0; half_stores && i < kCells; ++i) halves_.get()[i] = Chain();
    weak_ = gc::make<gc::vector<gc::Weak<Link>>>();
    for (size_t i = 0; i < kWeak; ++i) weak_->push_back(gc::Weak<Link>(Chain()));
    // Of these nobody asks: their objects are dead.
    unasked_ = gc::make<gc::vector<gc::Weak<Link>>>();
    for (int i = 0; i < 50; ++i) unasked_->push_back(gc::Weak<Link>(Chain()));
    for (int i = 0; i < 50; ++i) {
      gc::finalized<Mortal>()->link = Chain();
      (void)Chain();  // and garbage
    }
    for (int i = 0; i < 8; ++i) {
      Go([this] { Descend(12); });
    }
    while (waiting_.load() < 8) Yield();
    for (size_t i = 0; i < 2; ++i) {
      Go([this, i] { Change(i); });
    }
    while (changing_.load() < 2) Yield();
    if (half_stores) {
      Go([this] {
        for (std::mt19937_64 random(7);;) {
          gc::Ptr<Link>& cell = halves_.get()[random() % kCells];
          if (cell == nullptr) cell = MakeChain(random);
          HalfStore(&cell);
        }
      });
    }
  }

 private:
  static constexpr size_t kCells = 10'000;
  static constexpr size_t kWeak = 500;

  // From its head on: the first object of the heap, which stale_mark chooses, is one that leads on.
  static Link* MakeChain(std::mt19937_64& random) {
    Link* const fork = gc::make<Link>();
    fork->last = gc::make<Link>();
    gc::Ptr<Link>* end = &fork->first;
    for (uint64_t i = 2 + random() % 6; i > 0; --i) {
      Link* n = gc::make<Link>();
      *end = n;
      end = random() % 2 == 0 ? &n->first : &n->last;
    }
    return fork;
  }
  Link* Chain() { return MakeChain(random_); }

  // A chain in each frame, and the goroutine parked in the last.
  __attribute__((noinline)) void Descend(int frames) {
    std::mt19937_64 random(static_cast<uint64_t>(frames));
    Link* mine = MakeChain(random);
    asm volatile("" : : "r"(&mine) : "memory");
    if (frames > 0) {
      Descend(frames - 1);
    } else {
      waiting_.fetch_add(1);
      (void)never_.Recv();
    }
    gc::keep_alive(mine);
  }

  // What a barrier does that has found the flag down and is stopped, by a signal, before it stores
  // for as long as it takes: the only pointer to a chain is overwritten after a mark has begun.
  __attribute__((noinline)) static void HalfStore(gc::Ptr<Link>* cell) {
    if (gc::internal::Marking()) return;  // the barrier's look
    while (!gc::internal::Marking()) {
    }
    __atomic_store_n(reinterpret_cast<Link**>(cell), nullptr, __ATOMIC_RELAXED);
    while (gc::internal::Marking()) {
    }
  }

  // Overwrites the only pointers to chains, with what is new and with what weak pointers give.
  void Change(size_t which) {
    std::mt19937_64 random(which);
    gc::Ptr<Link>* const cells = cells_.get() + which * (kCells / 2);
    changing_.fetch_add(1);
    for (;;) {
      gc::Ptr<Link>& cell = cells[random() % (kCells / 2)];
      switch (random() % 4) {
        case 0:
          cell = nullptr;
          break;
        case 1:
          // Not before: what it gives out then is in the snapshot.
          if (gc::Weak<Link>& weak = (*weak_)[which * kWeak / 2 + random() % (kWeak / 2)];
              !gc::internal::Marking()) {
            if (weak.lock() == nullptr) weak = gc::Weak<Link>(MakeChain(random));
          } else if (Link* got = weak.lock()) {
            cell = got;
          }
          break;
        case 2:
          cell = MakeChain(random);
          break;
        default:
          cell = cells[random() % (kCells / 2)];
      }
    }
  }

  std::mt19937_64 random_;
  std::vector<gc::Root<Link>> roots_;
  gc::Root<Traced> traced_;
  gc::Root<Link> array_;
  gc::Root<gc::Ptr<Link>> large_;
  gc::Root<Link> inside_;
  gc::Root<gc::Ptr<Link>> cells_, halves_;
  gc::Root<gc::vector<gc::Weak<Link>>> weak_, unasked_;
  Channel<gc::Ptr<Link>> sent_{8};
  Channel<int> never_;
  std::atomic<int> waiting_{0}, changing_{0};
};

// Runs as many cycles; ends the process where no check does.
[[noreturn]] void CollectWith(const std::string& debug, int cycles, bool half_stores) {
  static std::string text;
  text = "checkmark=1,verify=1" + debug;
  StartCollector(CollectorOptions("off", base::DebugText(text.c_str())));
  new Heap(half_stores);
  for (int i = 1; i <= cycles; ++i) {
    std::fprintf(stderr, "cycle %d\n", i);
    gc::Collect();
  }
  std::fprintf(stderr, "nothing was told\n");
  _exit(0);
}

struct FaultCase {
  const char* name;
  int cycles;  // within which it is told
  bool half_stores = false;
};
constexpr FaultCase kFaults[] = {
    {"missed_root", 1},
    {"missed_stack", 1},
    {"half_stack", 1},
    {"missed_range", 1},
    {"no_interior", 1},
    {"flip_mark", 1},
    {"mark_neighbour", 1},
    {"drop_grey", 1},
    {"drop_found", 1},
    {"early_end", 1},
    {"last_word", 1},
    {"first_word", 1},
    {"shifted_mask", 1},
    {"first_element", 1},
    {"large_head", 1},
    {"not_traced", 1},
    {"all_noscan", 1},
    {"free_marked", 1},
    {"stale_mark", 1},
    {"second_word", 1},
    {"span_not_queued", 1},
    {"skipped_in_span", 1},
    {"no_barrier", 1},
    {"shades_new", 1},
    {"shaded_not_scanned", 1},
    {"allocates_white", 1},
    // Until a mark has begun while who is within a barrier runs, and not while it waits for its P.
    {"interrupted_missed", 100, true},
    {"kept_lost", 1},
    // Until one was asked while a mark went on.
    {"weak_not_shaded", 100},
    {"weak_not_forgotten", 1},
    {"dead_not_nulled", 1},
};

int Runs() {
  const char* runs = std::getenv("PLIMSOLL_TEST_RUNS");
  return runs != nullptr ? std::atoi(runs) : 1;
}

TEST(GcFaultDeathTest, WithoutAFaultTheChecksAreSilent) {
  for (int i = 0; i < Runs(); ++i) {
    EXPECT_EXIT(CollectWith("", 20, !base::kTsan), testing::ExitedWithCode(0), "nothing was told");
  }
}

class EachGcFaultDeathTest : public testing::TestWithParam<FaultCase> {};

TEST_P(EachGcFaultDeathTest, IsToldOfOnTheRealScheduler) {
  const FaultCase& fault = GetParam();
  if (base::kTsan && fault.half_stores) GTEST_SKIP() << "TSan holds signals back";
  for (int i = 0; i < Runs(); ++i) {
    EXPECT_EXIT(
        CollectWith(std::string(",gcfault=") + fault.name, fault.cycles, fault.half_stores),
        testing::ExitedWithCode(2),  // The last is the verifier's, when a mark begins.
        "fatal error: (gc: (checkmark|verify): |alloc/collectable.cc:[0-9]+: CHECK failed: )");
  }
}

INSTANTIATE_TEST_SUITE_P(, EachGcFaultDeathTest, testing::ValuesIn(kFaults),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace plimsoll
