// Goes between two stacks a thousand times and says "ok": run by switch_aarch64_test.sh under
// qemu-aarch64, where there is no GoogleTest.

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "plimsoll/runtime/stack/switch.h"

namespace {

void* main_sp;
void* other_sp;
int visits = 0;
alignas(16) char memory[64 << 10];

void Expect(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "wrong: %s\n", what);
  exit(1);
}

}  // namespace

extern "C" void plimsoll_goroutine_main() {
  alignas(16) volatile char aligned[16] = {};
  Expect(reinterpret_cast<uintptr_t>(aligned) % 16 == 0, "the new stack is aligned");
  // Others in x19 … x28 and d8 … d15 than main has.
  volatile long seed = 1000;
  volatile double half = 1000.5;
  const long a = seed, b = seed + 1, c = seed + 2, d = seed + 3, e = seed + 4, f = seed + 5;
  const double p = half, q = half + 1, r = half + 2, s = half + 3, t = half + 4, u = half + 5;
  for (;;) {
    ++visits;
    plimsoll_switch(&other_sp, main_sp);
    Expect(a + b + c + d + e + f == 6015, "x19 to x28 of the other stack");
    Expect(p + q + r + s + t + u == 6018.0, "d8 to d15 of the other stack");
  }
}

int main() {
  other_sp = plimsoll::stack::PrepareStart(reinterpret_cast<uintptr_t>(memory + sizeof(memory)));
  volatile long seed = 1;
  volatile double half = 0.5;
  const long a = seed, b = seed + 1, c = seed + 2, d = seed + 3, e = seed + 4, f = seed + 5;
  const double p = half, q = half + 1, r = half + 2, s = half + 3, t = half + 4, u = half + 5;
  for (int i = 0; i < 1000; ++i) {
    plimsoll_switch(&main_sp, other_sp);
    Expect(a + b + c + d + e + f == 21, "x19 to x28 of main");
    Expect(p + q + r + s + t + u == 18.0, "d8 to d15 of main");
  }
  Expect(visits == 1000, "the other stack ran each time");
  // What a dump reads of a stack that does not run: x29 and x30 at their places (switch.h).
  const auto* saved = static_cast<const uintptr_t*>(other_sp);
  Expect(saved[11] > reinterpret_cast<uintptr_t>(&plimsoll_goroutine_main) &&
             saved[11] < reinterpret_cast<uintptr_t>(&plimsoll_goroutine_main) + 4096,
         "x30 is where the other stack goes on");
  Expect(saved[10] > reinterpret_cast<uintptr_t>(memory) &&
             saved[10] < reinterpret_cast<uintptr_t>(memory + sizeof(memory)),
         "x29 is its frame");
  puts("ok");
}
