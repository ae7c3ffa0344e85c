#include "plimsoll/runtime/gc/crew.h"

#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/marker.h"

namespace plimsoll::gc::internal {
namespace {

// Markers come into being as they are needed, and stay.
alignas(Marker) constinit char marker_memory[64][sizeof(Marker)] = {};

}  // namespace

void Crew::Open(bool (*one_proc)()) {
  one_proc_ = one_proc;
  bytes_.store(0, std::memory_order_relaxed);
  objects_.store(0, std::memory_order_relaxed);
  hungry_.store(false, std::memory_order_relaxed);
}

Marker* Crew::Take(bool empty) {
  static_assert(sizeof(marker_memory) / sizeof(marker_memory[0]) == kMarkers);
  base::SpinLockHolder hold(mu_);
  size_t rests = kMarkers;
  for (size_t i = 0; i < kMarkers; ++i) {
    if (in_use_[i]) continue;
    if (!empty && markers_[i] != nullptr && markers_[i]->HasWork()) {
      in_use_[i] = true;
      ++used_;
      return markers_[i];
    }
    if (rests == kMarkers && (markers_[i] == nullptr || !markers_[i]->HasWork())) rests = i;
    if (markers_[i] == nullptr) break;  // nor is there one behind it
  }
  if (rests == kMarkers) return nullptr;  // more at once than there are markers
  if (markers_[rests] == nullptr) markers_[rests] = ::new (marker_memory[rests]) Marker(*this);
  Marker* marker = markers_[rests];
  if (!empty) {
    size_t got = 0;
    for (; got < kBatch && !store_.stack.empty(); ++got) marker->stack().Push(store_.stack.Pop());
    if (got == 0) got = TakeShaded(marker->stack(), kBatch);
    if (got == 0 && HasNotes()) {
      TakeNotes([](uintptr_t word, void* to) { static_cast<Marker*>(to)->Root(word); }, marker);
      marker->Settle();
      // Also where there is nothing to scan of what it marked: Return() counts that.
      got = marker->HasWork() || marker->marked().objects != 0 ? 1 : 0;
    }
    if (got == 0) {
      if (used_ > 0) hungry_.store(true, std::memory_order_relaxed);
      return nullptr;
    }
  }
  in_use_[rests] = true;
  ++used_;
  return marker;
}

void Crew::Return(Marker* marker) {
  const MarkPool::Sum sum = marker->TakeMarked();
  bytes_.fetch_add(sum.bytes, std::memory_order_relaxed);
  objects_.fetch_add(sum.objects, std::memory_order_relaxed);
  base::SpinLockHolder hold(mu_);
  for (size_t i = 0; i < kMarkers; ++i) {
    if (markers_[i] != marker) continue;
    in_use_[i] = false;
    --used_;
  }
}

void Crew::WithEmptyMarker(void (*f)(Marker& marker, void* arg), void* arg) {
  Marker* marker;
  {
    alloc::SlowPath no_preempt;
    marker = Take(/*empty=*/true);
  }
  PLIMSOLL_CHECK(marker != nullptr);
  f(*marker, arg);
  marker->Settle();
  alloc::SlowPath no_preempt;
  Return(marker);
}

bool Crew::Step(size_t bytes) {
  // Who was stopped within one would hold grey objects until its next turn, and the mark's end
  // would wait for that.
  alloc::SlowPath no_preempt;
  Marker* marker = Take(/*empty=*/false);
  if (marker == nullptr) return false;
  // With one P nobody else sets mark bits meanwhile: mutators do not run, and Kept leaves notes.
  marker->DrainSome(bytes, /*alone=*/one_proc_());
  Return(marker);
  return true;
}

bool Crew::Busy() {
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(mu_);
  return used_ > 0;
}

bool Crew::Done() {
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(mu_);
  if (used_ > 0) return false;
  for (Marker* marker : markers_) {
    if (marker != nullptr && marker->HasWork()) return false;
  }
  (void)TakeShaded(store_.stack, kBatch);
  return store_.stack.empty() && !HasNotes();
}

void Crew::Give(Marker& marker) {
  alloc::SlowPath no_preempt;
  Grey greys[64];
  const size_t n = marker.TakeOldest(greys, 64);
  if (n == 0) return;
  base::SpinLockHolder hold(mu_);
  for (size_t i = 0; i < n; ++i) store_.stack.Push(greys[i]);
  hungry_.store(false, std::memory_order_relaxed);
}

}  // namespace plimsoll::gc::internal
