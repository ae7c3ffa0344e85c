#include "plimsoll/alloc/samples.h"

#include <bit>

#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll::alloc {
namespace {

// log2 of x >= 1, to about 1e-6: beneath malloc there is no libm.
double Log2(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  const double exponent = static_cast<double>(static_cast<int64_t>(bits >> 52) - 1023);
  const double m = std::bit_cast<double>((bits & ((uint64_t{1} << 52) - 1)) | uint64_t{1023} << 52);
  // ln m = 2 artanh((m - 1) / (m + 1))
  const double s = (m - 1) / (m + 1);
  const double t = s * s;
  const double series = s * (1 + t * (1.0 / 3 + t * (1.0 / 5 + t * (1.0 / 7 + t / 9))));
  return exponent + series * 2 * 1.4426950408889634;
}

}  // namespace

int64_t NextSampleGap(uint64_t& random, uint64_t period) {
  random ^= random << 13;  // xorshift64
  random ^= random >> 7;
  random ^= random << 17;
  // u is uniform in (0, 1]: 53 bits of it.
  const double u_times_2_53 = static_cast<double>((random >> 11) + 1);
  const double minus_ln_u = (53 - Log2(u_times_2_53)) * 0.6931471805599453;
  return static_cast<int64_t>(minus_ln_u * static_cast<double>(period));
}

Sample* Samples::Add(uintptr_t address, uint64_t size, size_t size_class) {
  Sample* sample = storage_.New();
  if (sample == nullptr) return nullptr;
  sample->address = address;
  sample->size = size;
  sample->size_class = static_cast<uint8_t>(size_class);
  sample->allocated.Capture();
  base::SpinLockHolder hold(mu_);
  sample->next = live_;
  if (live_ != nullptr) live_->prev = sample;
  live_ = sample;
  ++count_;
  return sample;
}

void Samples::Remove(Sample* sample) {
  StackTrace here;
  here.Capture();
  Sample* forgotten;
  {
    base::SpinLockHolder hold(mu_);
    sample->freed = here;
    (sample->prev != nullptr ? sample->prev->next : live_) = sample->next;
    if (sample->next != nullptr) sample->next->prev = sample->prev;
    sample->next = sample->prev = nullptr;
    --count_;
    forgotten = freed_[next_freed_];
    freed_[next_freed_] = sample;
    next_freed_ = (next_freed_ + 1) % kFreed;
  }
  if (forgotten != nullptr) storage_.Delete(forgotten);
}

void Samples::Resized(Sample* sample, uint64_t size) {
  base::SpinLockHolder hold(mu_);
  sample->size = size;
}

size_t Samples::Copy(Sample* to, size_t most) const {
  base::SpinLockHolder hold(mu_);
  size_t i = 0;
  for (const Sample* s = live_; s != nullptr && i < most; s = s->next) to[i++] = *s;
  return count_;
}

bool Samples::Tell(uintptr_t address) const {
  Sample found;
  {
    base::SpinLockHolder hold(mu_);
    for (const Sample* s = live_; s != nullptr && found.address == 0; s = s->next) {
      if (address - s->address < (s->size == 0 ? 1 : s->size)) found = *s;
    }
    // The newest first: addresses come round again.
    for (size_t i = 1; i <= kFreed && found.address == 0; ++i) {
      const Sample* s = freed_[(next_freed_ + kFreed - i) % kFreed];
      if (s != nullptr && address - s->address < (s->size == 0 ? 1 : s->size)) found = *s;
    }
  }
  if (found.address == 0) return false;
  TellSample(found);
  return true;
}

void TellSample(const Sample& sample) {
  base::RawLog("heap: ", base::Hex(sample.address), ", ", sample.size, " bytes, was allocated at");
  sample.allocated.Log();
  if (sample.freed.depth == 0) return;
  base::RawLog("heap: and freed at");
  sample.freed.Log();
}

}  // namespace plimsoll::alloc
