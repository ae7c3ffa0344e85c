#include "plimsoll/runtime/gc/what_holds.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_format.h"
#include "plimsoll/alloc/collectable.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/root_table.h"
#include "plimsoll/runtime/gc/spill.h"
#include "plimsoll/runtime/gc/verify.h"
#include "plimsoll/runtime/gc/world.h"

namespace plimsoll::gc {
namespace {

enum class Among { kRoots, kStacksOfOthers, kAll };

struct Search {
  World& world;
  uintptr_t object;
  uintptr_t sp = 0;  // on the caller's stack, below its registers
  Among among = Among::kRoots;
  internal::Way way;
};

// All ranges but the caller's stack.
class OfOthers final : public RangeSink {
 public:
  OfOthers(RangeSink& to, uintptr_t here) : to_(to), here_(here) {}
  void Scan(uintptr_t lo, uintptr_t hi) override {
    if (here_ < lo || here_ >= hi) to_.Scan(lo, hi);
  }

 private:
  RangeSink& to_;
  const uintptr_t here_;
};

void ShowRoots(void* arg, void (*on_root)(uintptr_t, void*), void* to, RangeSink& sink) {
  const auto& search = *static_cast<Search*>(arg);
  internal::VisitRoots(on_root, to, sink);
  OfOthers others(sink, search.sp);
  if (search.among == Among::kStacksOfOthers) search.world.ScanStacks(search.sp, others);
  if (search.among == Among::kAll) search.world.ScanStacks(search.sp, sink);
}

void Walk(uintptr_t sp, void* arg) {
  auto& search = *static_cast<Search*>(arg);
  search.sp = sp;
  search.world.Stop(StopFor::kLook);
  for (const Among among : {Among::kRoots, Among::kStacksOfOthers, Among::kAll}) {
    search.among = among;
    internal::FindWay(&ShowRoots, &search, search.object, search.way);
    if (search.way.found) break;
  }
  search.world.Start();
}

std::string Tell(const Search& search, const alloc::Object& o) {
  const internal::Way& way = search.way;
  std::string text =
      absl::StrFormat("%#x (%s, %u bytes)\n", o.base(), o.span->shape->layout.name, o.bytes());
  if (!way.found) return text + "  is held by nothing\n";
  for (size_t i = 1; i < std::min(way.length, internal::Way::kMost); ++i) {
    const internal::Step& step = way.steps[i];
    absl::StrAppendFormat(&text, "  is in word %u of %#x (%s, %u bytes)\n", step.word, step.object,
                          step.type, step.bytes);
  }
  if (way.length > internal::Way::kMost) {
    absl::StrAppendFormat(&text, "  is held by %u more, the last of which\n",
                          way.length - internal::Way::kMost);
  }
  if (way.root == 0) return text + "  is in a gc::Root or gc::Global\n";
  absl::StrAppendFormat(&text, "  is in %s, at %#x\n",
                        internal::InRange(way.root)              ? "a channel"
                        : search.among == Among::kStacksOfOthers ? "a goroutine's stack"
                                                                 : "the caller's stack",
                        way.root);
  return text;
}

}  // namespace

std::string WhatHolds(const void* p) {
  World& world = internal::JoinedWorld();
  world.CheckMutator();
  const auto address = reinterpret_cast<uintptr_t>(p);
  alloc::Object o;
  // It is in use up to here, so no cycle takes it in between: `p` is on this stack.
  if (!alloc::FindObject(address, &o)) {
    return absl::StrFormat("%#x is no object of the collected heap\n", address);
  }
  Search search{.world = world, .object = o.base(), .way = {}};
  internal::WithRegistersSpilled(&Walk, &search);
  std::string text = Tell(search, o);
  keep_alive(p);
  return text;
}

}  // namespace plimsoll::gc
