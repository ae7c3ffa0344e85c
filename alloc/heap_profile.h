// WriteHeapProfile writes what is live, by where it was allocated, as `go tool pprof` and `pprof`
// read it: a gzip'ed profile.proto with inuse_objects and inuse_space.
//
//   WriteHeapProfile(samples, period, [](std::string_view bytes, void* file) { ... }, file);
//   go tool pprof -top ./service heap.pb.gz
//
// Weights: a sample of s bytes stands for 1 / (1 - exp(-s / period)) objects, so that sums are
//          right in the mean whatever the sizes.
// Names:   of functions, from the symbol tables of the files that are mapped, since go tool pprof
//          looks none up in what Go did not compile. The heap's own frames are left out by pprof.
// Size:    the gzip stream is stored, not compressed: about 100 bytes for each sample.
// Memory:  mapped for the call and given back; none of the heap's, whose figures it would change.
#ifndef PLIMSOLL_ALLOC_HEAP_PROFILE_H_
#define PLIMSOLL_ALLOC_HEAP_PROFILE_H_

#include <cstdint>
#include <string_view>

#include "plimsoll/alloc/samples.h"

namespace plimsoll::alloc {

using WriteBytes = void (*)(std::string_view bytes, void* to);

// False: no memory for it, and nothing was written.
bool WriteHeapProfile(const Samples& samples, uint64_t period, WriteBytes write, void* to);

// How many objects a sample of `size` bytes stands for.
double SampleWeight(uint64_t size, uint64_t period);

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_HEAP_PROFILE_H_
