#include "plimsoll/runtime/stack/switch.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

// A sanitizer would have to be told of each switch; the scheduler does that, this test does not.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PLIMSOLL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PLIMSOLL_SANITIZED 1
#endif
#endif

namespace {

void* main_sp;
void* other_sp;
std::vector<std::string>* trace;

}  // namespace

// In place of the scheduler's: what a new stack runs.
extern "C" void plimsoll_goroutine_main() {
  // The start must leave the stack as a call would: 16-byte aligned for SSE.
  alignas(16) volatile char aligned[16] = {};
  trace->push_back(reinterpret_cast<uintptr_t>(aligned) % 16 == 0 ? "aligned" : "unaligned");
  for (int i = 0;; ++i) {
    trace->push_back("other " + std::to_string(i));
    plimsoll_switch(&other_sp, main_sp);
  }
}

namespace plimsoll::stack {
namespace {

TEST(SwitchTest, GoesThereAndBackAndKeepsCalleeSavedRegisters) {
#ifdef PLIMSOLL_SANITIZED
  GTEST_SKIP() << "sanitizers are told of switches by the scheduler only";
#endif
  std::vector<std::string> steps;
  trace = &steps;
  alignas(16) static char memory[64 << 10];
  other_sp = PrepareStart(reinterpret_cast<uintptr_t>(memory + sizeof(memory)));
  // More live values than registers a call may clobber: some of them live in callee-saved ones.
  volatile int seed = 1;
  const int a = seed, b = seed + 1, c = seed + 2, d = seed + 3, e = seed + 4, f = seed + 5;
  for (int i = 0; i < 3; ++i) {
    steps.push_back("main " + std::to_string(i));
    plimsoll_switch(&main_sp, other_sp);
    EXPECT_EQ(a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f, 654321);
  }
  EXPECT_EQ(steps, (std::vector<std::string>{"main 0", "aligned", "other 0", "main 1", "other 1",
                                             "main 2", "other 2"}));
}

}  // namespace
}  // namespace plimsoll::stack
