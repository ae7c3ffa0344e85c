// A park with a deadline: its commit, its timer and another waker (runtime/sched/DESIGN.md,
// "Timers").
//
// Transcribed: ParkUntil, TimedCommit and TimedOut of runtime/sched/park.cc, in goroutine.cc, where
// they serve chan_test as well.

#include <cstdint>

#include "gtest/gtest.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"
#include "plimsoll/tests/model/goroutine.h"

namespace plimsoll::model {
namespace {

constexpr uint32_t kWaker = 1;

// What a commit publishes a goroutine to: a word that is empty, holds it, or says "too late".
struct Place {
  atomic<sched::G*> g{nullptr};
  atomic<uint32_t> late{0};
  sched::WakeClaim* claim = nullptr;  // published by g
  Var<int> value{0};                  // the waker's, for who it wakes

  static bool Publish(sched::G* g, void* arg) {
    auto* place = static_cast<Place*>(arg);
    place->g.store(g, std::memory_order_seq_cst);
    return true;
  }
  // Takes the park back where the waker has been here already.
  static bool PublishUnlessLate(sched::G*, void* arg) {
    return static_cast<Place*>(arg)->late.load(std::memory_order_acquire) == 0;
  }
};

// Parks with a deadline; somebody else may wake it.
Program ParkAndWake() {
  return [] {
    auto* place = New<Place>("place");
    Goroutine(
        "parks",
        [=] {
          sched::WakeClaim claim;
          place->claim = &claim;
          const uint32_t by =
              sched::ParkUntil(sched::WaitReason::kIoWait, 1, claim, Place::Publish, place);
          if (by == kWaker) Check(place->value.Get() == 7, "what precedes the wake-up is seen");
          // A waker that lost does not touch the claim once this is taken back.
          if (by != kWaker)
            place->late.WaitUntil([](uint64_t now, uint64_t) { return now != 0; }, 0);
        },
        /*timed=*/true);
    Goroutine("wakes", [=] {
      place->value.Set(7);
      if (sched::G* g = place->g.load(std::memory_order_seq_cst); g != nullptr) {
        if (place->claim->TryClaim(kWaker)) {
          sched::Ready(g);
          return;
        }
      }
      place->late.store(1, std::memory_order_release);
    });
  };
}

// The commit may find that it is too late to park.
Program ParkOrRefuse() {
  return [] {
    auto* place = New<Place>("place");
    Goroutine(
        "parks",
        [=] {
          sched::WakeClaim claim;
          sched::ParkUntil(sched::WaitReason::kIoWait, 1, claim, Place::PublishUnlessLate, place);
        },
        /*timed=*/true);
    Goroutine("is here first, or not", [=] { place->late.store(1, std::memory_order_release); });
  };
}

TEST(ParkUntilModel, IsWokenOnceAndItsFrameIsItsOwn) {
  ExpectHolds("timed park / waker", {}, ParkAndWake());
  ExpectHolds("timed park, refused or not", {}, ParkOrRefuse());
}

TEST(ParkUntilModel, FindsEachPlantedFault) {
  ExpectFinds("timed park / waker", "ParkUntil does not wait for the commit", {}, ParkAndWake());
  ExpectFinds("timed park / waker", "a commit does not look whether the timer came", {},
              ParkAndWake());
  ExpectFinds("timed park, refused or not", "a timer that comes early wakes the goroutine", {},
              ParkOrRefuse());
  ExpectFinds("timed park, refused or not", "a commit that refuses leaves its timer", {},
              ParkOrRefuse());
}

}  // namespace
}  // namespace plimsoll::model
