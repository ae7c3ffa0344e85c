#include "plimsoll/runtime/sched/chooser.h"

#include "plimsoll/alloc/base/check.h"

namespace plimsoll::sched {

constinit bool chooser_seeded = false;

namespace {

// Each thread has its own sequence. The address serves as the seed: threads differ, and so do runs.
thread_local uint64_t random_state = 0;

// The clock of every seeded run begins here: late enough that a deadline before it is no
// underflow.
constexpr int64_t kClockBegins = 1'000'000'000;

// Read and written by the one thread of seeded mode.
struct SeededChoices {
  ChoiceTrace made;
  uint64_t state = 0;
  int64_t now_ns = kClockBegins;
};
constinit SeededChoices choices;

// wyrand's step: Wang Yi, "wyhash", public domain.
uint32_t Wyrand(uint64_t& state) {
  state += 0xa0761d6478bd642full;
  const unsigned __int128 product =
      static_cast<unsigned __int128>(state) * (state ^ 0xe7037ed1a0b428dbull);
  return static_cast<uint32_t>(static_cast<uint64_t>(product >> 64) ^
                               static_cast<uint64_t>(product));
}

// Lemire, "Fast Random Integer Generation in an Interval": the bias is below n / 2^32.
uint32_t Scale(uint32_t bits, uint32_t n) {
  return static_cast<uint32_t>((uint64_t{bits} * n) >> 32);
}

}  // namespace

// noinline: the address of a thread_local must not outlive a park in the caller.
[[gnu::noinline]] uint32_t ChooseBelow(uint32_t n) {
  if (Seeded()) [[unlikely]]
    return SeededBelow(n);
  if (random_state == 0) [[unlikely]]
    random_state = reinterpret_cast<uintptr_t>(&random_state);
  return Scale(Wyrand(random_state), n);
}

uint32_t SeededBelow(uint32_t n) {
  const uint32_t chosen = Scale(Wyrand(choices.state), n);
  ++choices.made.choices;
  // FNV-1a over (n, chosen): a choice among more is another choice.
  for (const uint32_t word : {n, chosen}) {
    choices.made.hash = (choices.made.hash ^ word) * 0x100000001b3u;
  }
  return chosen;
}

void Reseed(uint64_t seed) {
  PLIMSOLL_CHECK(Seeded(), "Reseed needs RunOptions::seeded");
  choices = {};
  choices.made.seed = seed;
  choices.made.hash = 0xcbf29ce484222325u;
  choices.state = seed;
}

ChoiceTrace ChoicesMade() { return choices.made; }

// Reading the clock takes time: a loop that waits for it ends.
int64_t VirtualNanos() { return choices.now_ns += 50; }

void AdvanceClockTo(int64_t when) {
  if (when > choices.now_ns) choices.now_ns = when;
}

void PassTime() {
  // Once in 16 long enough for what goes by milliseconds: a Mutex that starves, a deadline.
  const bool long_time = SeededBelow(16) == 0;
  choices.now_ns += SeededBelow(long_time ? 3'000'000 : 1'000);
}

}  // namespace plimsoll::sched
