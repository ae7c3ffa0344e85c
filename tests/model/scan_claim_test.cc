// Several markers and one span: runtime/gc/scan_claim.h itself. What goes round it is
// Marker::Enqueue and Marker::ScanSpan, and TakeWord of alloc/collectable.cc, in short.

#include "plimsoll/runtime/gc/scan_claim.h"

#include <cstdint>

#include "gtest/gtest.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"

namespace plimsoll::model {
namespace {

using gc::internal::ClaimGrey;
using gc::internal::ClaimWaiting;
using gc::internal::GiveBack;
using gc::internal::TakeOut;

constexpr int kObjects = 3;

struct Span {
  atomic<uint64_t> marks{0};
  atomic<uint64_t> scanned{0};
  atomic<uint32_t> waiting{0};
  atomic<uint64_t> scans[kObjects] = {};  // how often each was
  // All queues in one: whose it is does not matter.
  atomic<uint64_t> queued{0};

  void Enqueue() {
    if (ClaimWaiting(waiting)) {
      Check(queued.fetch_add(1, std::memory_order_acq_rel) == 0, "waits twice");
    }
  }
  void Mark(int object) {
    const uint64_t bit = uint64_t{1} << object;
    if (Planted("looks whether it waits before it marks")) {
      const bool waits = !ClaimWaiting(waiting);
      if ((marks.fetch_or(bit, std::memory_order_seq_cst) & bit) == 0 && !waits) {
        queued.fetch_add(1, std::memory_order_acq_rel);
      }
      return;
    }
    if ((marks.fetch_or(bit, std::memory_order_seq_cst) & bit) == 0) Enqueue();
  }
  // Scans what is grey, or the first of it and leaves the rest: its budget is used up.
  void Scan(bool one_only) {
    uint64_t q = queued.load(std::memory_order_acquire);
    if (q == 0 || !queued.compare_exchange_strong(q, q - 1, std::memory_order_acq_rel,
                                                  std::memory_order_relaxed)) {
      return;
    }
    const bool late = Planted("taken out after the last look");
    if (!late) TakeOut(waiting);
    while (uint64_t grey = ClaimGrey(marks, scanned)) {
      for (int i = 0; i < kObjects; ++i) {
        if ((grey >> i & 1) == 0) continue;
        scans[i].fetch_add(1, std::memory_order_relaxed);
        grey &= grey - 1;
        if (one_only) break;
      }
      if (grey != 0) GiveBack(scanned, grey);
      if (one_only) {
        if (!Planted("left and not put back")) Enqueue();
        break;
      }
    }
    if (late) TakeOut(waiting);
  }

  void CheckEnd(uint64_t marked) {
    for (int i = 0; i < kObjects; ++i) {
      const uint64_t n = scans[i].load(std::memory_order_relaxed);
      Check(n <= 1, "scanned twice");
      if ((marked >> i & 1) == 0) {
        Check(n == 0, "what nobody marked was scanned");
      } else {
        Check(n == 1 || queued.load(std::memory_order_relaxed) > 0, "grey, and waits nowhere");
      }
    }
  }
};

// Each marks an object and then scans.
Program TwoMarkers(bool one_only) {
  return [=] {
    auto* span = New<Span>("span");
    Thread("marks 0 and scans", [=] {
      span->Mark(0);
      span->Scan(one_only);
    });
    Thread("marks 1 and scans", [=] {
      span->Mark(1);
      span->Scan(one_only);
    });
    AtEnd([=] { span->CheckEnd(3); });
  };
}

// One scans while others mark.
Program OneScans() {
  return [] {
    auto* span = New<Span>("span");
    Thread("marks 0, scans twice", [=] {
      span->Mark(0);
      span->Scan(false);
      span->Scan(false);
    });
    Thread("marks 1", [=] { span->Mark(1); });
    Thread("marks 2", [=] { span->Mark(2); });
    AtEnd([=] { span->CheckEnd(7); });
  };
}

// A cache takes object 2, which is black from the start, while the span is scanned.
Program Allocates() {
  return [] {
    auto* span = New<Span>("span");
    Thread("marks 0 and scans", [=] {
      span->Mark(0);
      span->Scan(false);
    });
    Thread("takes 2", [=] {
      if (Planted("black before it is out of the markers' way")) {
        span->marks.fetch_or(4, std::memory_order_release);
        span->scanned.fetch_or(4, std::memory_order_relaxed);
        return;
      }
      span->scanned.fetch_or(4, std::memory_order_relaxed);
      span->marks.fetch_or(4, std::memory_order_release);
    });
    AtEnd([=] { span->CheckEnd(1); });
  };
}

TEST(ScanClaimModel, WhatIsGreyIsScannedOnceOrWaits) {
  ExpectHolds("mark, scan / mark, scan", {}, TwoMarkers(false));
  ExpectHolds("mark, scan one / mark, scan one", {}, TwoMarkers(true));
  ExpectHolds("mark, scan twice / mark / mark", {}, OneScans());
  ExpectHolds("mark, scan / allocate black", {}, Allocates());
}

TEST(ScanClaimModel, FindsEachPlantedFault) {
  ExpectFinds("mark, scan / mark, scan", "looks whether it waits before it marks", {},
              TwoMarkers(false));
  ExpectFinds("mark, scan / mark, scan", "taken out after the last look", {}, TwoMarkers(false));
  ExpectFinds("mark, scan one / mark, scan one", "left and not put back", {}, TwoMarkers(true));
  ExpectFinds("mark, scan one / mark, scan one", "given back without an order", {},
              TwoMarkers(true));
  ExpectFinds("mark, scan / mark, scan", "taken out by a plain store", {}, TwoMarkers(false));
  ExpectFinds("mark, scan / mark, scan", "two claim at once", {}, TwoMarkers(false));
  ExpectFinds("mark, scan / mark, scan", "two put it into a queue", {}, TwoMarkers(false));
  ExpectFinds("mark, scan / allocate black", "black before it is out of the markers' way", {},
              Allocates());
}

}  // namespace
}  // namespace plimsoll::model
