// Who scans which objects of a span, when several markers work at once.
//
//   a marker that marked an object            one that scans a span
//   marks.fetch_or(bit)                       TakeOut(waiting);        // from here on it may wait
//   again if (ClaimWaiting(waiting)) queue it       while (bits = ClaimGrey(marks, scanned)) scan
//   them
//
//   bit in marks  in scanned
//   0             0           white
//   1             0           grey, and the span waits, or is with one who has yet to look again
//   1             1           black, or claimed by who is about to scan it
//   0             1           a cache's, to be handed out: about to be black
//
// Invariants:
//   (1) A grey object's span waits, or somebody is about to call ClaimGrey for it. Of "mark, then
//   look
//       whether it waits" and "take it out, then look at the marks" one sees the other: both are
//       seq_cst.
//   (2) An object is given out by ClaimGrey once.
//   (3) What is black from the start is in `scanned` before it is in `marks`: what a cache has not
//       handed out yet holds what a dead object held, and is not scanned.
//
// tests/model/scan_claim_test.cc runs this file.
#ifndef PLIMSOLL_RUNTIME_GC_SCAN_CLAIM_H_
#define PLIMSOLL_RUNTIME_GC_SCAN_CLAIM_H_

#include <atomic>
#include <cstdint>

namespace plimsoll::gc::internal {

// After a mark was set by a seq_cst operation. True: the caller puts the span into a queue.
inline bool ClaimWaiting(std::atomic<uint32_t>& waiting) {
  return waiting.load(std::memory_order_seq_cst) == 0 &&
         waiting.exchange(1, std::memory_order_seq_cst) == 0;
}

// By who has it from a queue, before he looks at marks.
inline void TakeOut(std::atomic<uint32_t>& waiting) {
  waiting.exchange(0, std::memory_order_seq_cst);
}

// Objects that are the caller's to scan; 0: none is grey in this word just now.
inline uint64_t ClaimGrey(const std::atomic<uint64_t>& marks, std::atomic<uint64_t>& scanned) {
  // seq_cst: (1), also beside GiveBack(). `marks` before `scanned`: (3), by its acquire.
  const uint64_t marked = marks.load(std::memory_order_seq_cst);
  const uint64_t grey = marked & ~scanned.load(std::memory_order_seq_cst);
  if (grey == 0) return 0;
  return grey & ~scanned.fetch_or(grey, std::memory_order_relaxed);
}

// Objects that were claimed and not scanned are grey again. Then the caller calls ClaimWaiting().
inline void GiveBack(std::atomic<uint64_t>& scanned, uint64_t grey) {
  scanned.fetch_and(~grey, std::memory_order_seq_cst);
}

// The same for who is alone with mark bits: no locked instruction.
inline bool ClaimWaitingAlone(std::atomic<uint32_t>& waiting) {
  if (waiting.load(std::memory_order_relaxed) != 0) return false;
  waiting.store(1, std::memory_order_relaxed);
  return true;
}
inline void TakeOutAlone(std::atomic<uint32_t>& waiting) {
  waiting.store(0, std::memory_order_relaxed);
}
inline uint64_t ClaimGreyAlone(const std::atomic<uint64_t>& marks, std::atomic<uint64_t>& scanned) {
  const uint64_t before = scanned.load(std::memory_order_relaxed);
  const uint64_t grey = marks.load(std::memory_order_relaxed) & ~before;
  if (grey != 0) scanned.store(before | grey, std::memory_order_relaxed);
  return grey;
}

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_SCAN_CLAIM_H_
