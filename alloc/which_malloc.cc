// Says which malloc it was linked with, after putting it to use: before constructors, in threads,
// in their last destructors, and in the child of a fork.
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/process_malloc.h"

namespace {

// The first of all calls: before any constructor, libc's own in a static program among them.
void* before_constructors = nullptr;
void Earliest() { before_constructors = std::memset(std::malloc(1000), 1, 1000); }
__attribute__((section(".preinit_array"), used)) void (*const earliest)() = &Earliest;

pthread_key_t key;
int late = 0;
void AtThreadEnd(void* p) {
  std::free(p);
  if (++late % 6 != 0) pthread_setspecific(key, std::malloc(100));
}

bool Work() {
  std::map<std::string, std::vector<int>> m;
  for (int i = 0; i < 20'000; ++i) m[std::to_string(i % 997)].push_back(i);
  return m.size() == 997;
}

}  // namespace

int main() {
  if (before_constructors == nullptr) return 1;
  std::free(before_constructors);
  pthread_key_create(&key, &AtThreadEnd);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      pthread_setspecific(key, std::malloc(100));
      if (!Work()) std::abort();
    });
  }
  for (std::thread& t : threads) t.join();
  const pid_t child = fork();
  if (child == 0) _exit(Work() ? 0 : 1);
  int status = 1;
  waitpid(child, &status, 0);
  if (status != 0) return 2;

  const auto before = plimsoll::ProcessMallocResident();
  void* held = std::memset(std::malloc(20 << 20), 1, 20 << 20);
  const auto after = plimsoll::ProcessMallocResident();
  const char* resident = !before.has_value()                     ? "not told"
                         : *after >= *before + plimsoll::MiB(16) ? "follows what is held"
                                                                 : "wrong";
  std::printf("%s; resident: %s\n",
              std::string(plimsoll::ProcessMallocName(plimsoll::FindProcessMalloc())).c_str(),
              resident);
  std::free(held);
  return 0;
}
