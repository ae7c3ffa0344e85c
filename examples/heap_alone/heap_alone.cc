// The heap without the runtime: allocate, look inside, give everything back.
#include <cstdio>
#include <cstring>
#include <vector>

#include "plimsoll/alloc/heap.h"

namespace {

using plimsoll::Heap;
using plimsoll::MiB;

void Show(const char* when) {
  const plimsoll::HeapStats s = Heap::Stats();
  const unsigned long long live = s.live.value();
  std::printf("%s: %llu KiB live, idle memory held: %s\n", when, live >> 10,
              s.idle > MiB(20) ? "much" : "little");
}

}  // namespace

int main() {
  // Anything up to 32 KiB comes from a class; 100 bytes take 112.
  auto* text = static_cast<char*>(Heap::Allocate(100));
  std::strcpy(text, "hello from the heap");
  std::printf("%s: 100 bytes asked, %zu usable\n", text, Heap::UsableSize(text));
  Heap::FreeSized(text, 100);

  std::vector<void*> blocks;
  blocks.reserve(64);
  for (int i = 0; i < 64; ++i) blocks.push_back(Heap::AllocateZeroed(MiB(1).value()));
  Show("with 64 blocks of 1 MiB");
  for (void* block : blocks) Heap::Free(block);
  Show("freed");

  // Time is the caller's: here ten seconds pass at once.
  for (long long now_ns = 0; now_ns <= 10'000'000'000; now_ns += 100'000'000) Heap::Step(now_ns);
  Show("ten seconds later");
  return 0;
}
