// heap_spike [LIMIT_MIB [STAYS]]: what a heap holds over time when a spike comes and goes. Prints
// "seconds held_mib live_mib limit_mib" every 100 ms for 20 s; heap_spike.py draws it.
//
// 64 MiB of objects of 16 to 8,000 bytes live throughout; from second 2 to 4 it grows to 512 MiB,
// then what came last goes, all but one object of 200, which holds its page.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "plimsoll/alloc/heap.h"

namespace {

using plimsoll::Heap;
using plimsoll::MiB;

double ResidentMiB() {
  long size = 0;
  long resident = 0;
  if (std::FILE* f = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(f, "%ld %ld", &size, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  return static_cast<double>(resident) * 4096 / (1 << 20);
}

struct Load {
  std::vector<std::pair<void*, uint32_t>> objects;
  uint64_t bytes = 0;
  uint32_t random = 1;

  void GrowTo(uint64_t target) {
    while (bytes < target) {
      random = random * 1664525 + 1013904223;
      const uint32_t size = 16 + (random >> 8) % ((random >> 30) == 0 ? 8000 : 500);
      objects.emplace_back(std::memset(Heap::Allocate(size), 1, size), size);
      bytes += size;
    }
  }
  void ShrinkTo(uint64_t target, uint32_t stays) {
    std::vector<std::pair<void*, uint32_t>> kept;
    while (bytes > target && !objects.empty()) {
      const auto [p, size] = objects.back();
      objects.pop_back();
      random = random * 1664525 + 1013904223;
      if (stays != 0 && (random >> 8) % stays == 0) {
        kept.emplace_back(p, size);
        continue;
      }
      Heap::Free(p);
      bytes -= size;
    }
    objects.insert(objects.end(), kept.begin(), kept.end());
    objects.shrink_to_fit();  // the list itself is not what is measured
  }
};

}  // namespace

int main(int argc, char** argv) {
  const long limit = argc > 1 ? std::atol(argv[1]) : 0;
  const auto stays = static_cast<uint32_t>(argc > 2 ? std::atol(argv[2]) : 0);
  if (limit > 0) Heap::SetMemoryLimit(MiB(static_cast<uint64_t>(limit)));
  const double program = ResidentMiB();
  Load load;
  const auto begin = std::chrono::steady_clock::now();
  for (int step = 0; step < 200; ++step) {
    if (step == 0) load.GrowTo(MiB(64).value());
    if (step >= 20 && step < 40) load.GrowTo(MiB(64 + (step - 19) * 448 / 20).value());
    if (step == 40) load.ShrinkTo(MiB(64).value(), stays);
    Heap::Step(int64_t{step} * 100'000'000);
    std::printf("%.1f %.1f %.1f %ld\n", step * 0.1, ResidentMiB() - program,
                static_cast<double>(load.bytes) / (1 << 20), limit);
    // One step each 100 ms, as well as the machine can.
    std::this_thread::sleep_until(begin + std::chrono::milliseconds(100 * (step + 1)));
  }
  return 0;
}
