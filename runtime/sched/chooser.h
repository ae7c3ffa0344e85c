// The Chooser makes every choice that the runtime leaves to chance: which goroutine runs next,
// whose queue is robbed first, which of several ready cases a Select takes, what time it is.
//
//   the choice             in production                     seeded: one thread, one P
//   which goroutine        runnext, the ring, the global     any that is runnable, or the clock:
//                          queue (PickLocal)                 the earliest timer fires
//   which victim           NextRandom of the thief's P       there is nobody to rob
//   which of n cases       ChooseBelow: a random number      a number from the seed
//   what time it is        CLOCK_MONOTONIC                   a virtual clock: it moves at picks,
//   and
//                                                            to the next timer when nobody can run
//   when to preempt        sysmon, by time                   at one in four ends of a region that
//                                                            may not be preempted: a yield
//
// In seeded mode nothing depends on a thread's timing, an address or a hash order, so the same seed
// gives the same interleaving: a failure replays. No thread is made (no sysmon, no second M), a
// BlockingCall runs inline, and a foreign thread that comes in is fatal. What it cannot do is named
// in DESIGN.md, "Choices and seeds".
//
// Cost in production: PickLocal reads one word for "seeded" and "ending" together, as it read one
// for "ending" before; NowNanos and ChooseBelow test a constant flag.
#ifndef PLIMSOLL_RUNTIME_SCHED_CHOOSER_H_
#define PLIMSOLL_RUNTIME_SCHED_CHOOSER_H_

#include <cstdint>

namespace plimsoll::sched {

extern bool chooser_seeded;  // set by Run, before there is a second thread

// Whether choices come from a seed (RunOptions::seeded).
inline bool Seeded() { return chooser_seeded; }

// A number below `n`, each as likely as another. Requires: n > 0. Fast, and no secret.
uint32_t ChooseBelow(uint32_t n);

// The next of a xorshift sequence, for a state that its caller owns and never sets to zero.
inline uint64_t NextRandom(uint64_t& state) {
  uint64_t x = state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return state = x;
}

// Begins a new sequence of choices, with the clock at its beginning. Requires: Seeded(), and that
// the caller is the only goroutine with anything left to do.
void Reseed(uint64_t seed);

// What was chosen since Reseed: how many times, and a hash of all choices in order. Two runs with
// equal hashes went the same way.
struct ChoiceTrace {
  uint64_t seed = 0;
  uint64_t choices = 0;
  uint64_t hash = 0;
};
ChoiceTrace ChoicesMade();

// For the scheduler. -----------------------------------------------------------------------------

// One of `n` from the seed. Requires: Seeded().
uint32_t SeededBelow(uint32_t n);
// The virtual clock. Requires: Seeded().
int64_t VirtualNanos();
// Moves the clock to `when` unless it is later already.
void AdvanceClockTo(int64_t when);
// Lets a little time pass, now and then a lot: what ran took it.
void PassTime();

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_CHOOSER_H_
