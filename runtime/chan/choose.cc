#include "plimsoll/runtime/chan/choose.h"

namespace plimsoll::internal {
namespace {

// Each thread has its own sequence. The address serves as the seed: threads differ, and so do runs.
thread_local uint64_t random_state = 0;

}  // namespace

// noinline: the address of a thread_local must not outlive a park in the caller (scheduler rules).
// wyrand's step: Wang Yi, "wyhash", public domain.
[[gnu::noinline]] uint32_t ChooseBelow(uint32_t n) {
  if (random_state == 0) [[unlikely]]
    random_state = reinterpret_cast<uintptr_t>(&random_state);
  random_state += 0xa0761d6478bd642full;
  const unsigned __int128 product =
      static_cast<unsigned __int128>(random_state) * (random_state ^ 0xe7037ed1a0b428dbull);
  const uint32_t bits =
      static_cast<uint32_t>(static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product));
  // Lemire, "Fast Random Integer Generation in an Interval": the bias is below n / 2^32.
  return static_cast<uint32_t>((uint64_t{bits} * n) >> 32);
}

}  // namespace plimsoll::internal
