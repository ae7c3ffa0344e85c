// A program of another workspace: it includes Plimsoll by the paths that everyone writes.
#include <iostream>

#include "plimsoll/container/limits.h"

int main() {
  const plimsoll::container::Limits limits = plimsoll::container::Detect();
  std::cout << "hello, P is at least one: " << (limits.procs.value >= 1) << "\n";
  return 0;
}
