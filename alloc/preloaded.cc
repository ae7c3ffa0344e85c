// What a program may do that was never meant for our malloc, by name: preload_test runs each on
// libplimsoll_malloc.so. Status 0: it went well.
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

// ---- fork: a library whose handlers allocate, and were registered before any malloc ----

void* held[200];
void BeforeFork() {
  for (size_t i = 0; i < 200; ++i) held[i] = malloc(i % 2 == 0 ? i * 100 : 40'000 + i * 8192);
}
void AfterFork() {
  for (void*& p : held) {
    free(p);
    p = nullptr;
  }
}
void Register() { pthread_atfork(&BeforeFork, &AfterFork, &AfterFork); }
// As early as a program can: before any library's constructor but the first one's.
__attribute__((section(".preinit_array"), used)) void (*const at_start)() = &Register;

int Fork() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  int status = 1;
  waitpid(child, &status, 0);
  return status;
}

// ---- dlclose: of the library itself, while a thread has a cache of it ----

void* (*its_malloc)(size_t);
pthread_barrier_t turns;

void* UseAcrossDlclose(void*) {
  void* p = its_malloc(100);
  pthread_barrier_wait(&turns);  // the library is closed now
  pthread_barrier_wait(&turns);
  return p;  // its destructor for this thread runs next
}

int Dlclose() {
  void* library = dlopen(getenv("PRELOADED_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  its_malloc = reinterpret_cast<void* (*)(size_t)>(dlsym(library, "malloc"));
  pthread_barrier_init(&turns, nullptr, 2);
  pthread_t thread;
  pthread_create(&thread, nullptr, &UseAcrossDlclose, nullptr);
  pthread_barrier_wait(&turns);
  if (dlclose(library) != 0) return 2;
  pthread_barrier_wait(&turns);
  void* p = nullptr;
  pthread_join(thread, &p);
  return p == nullptr ? 3 : 0;
}

// ---- reports: what a program holds, told by malloc_info and by what is written at its end ----

constexpr size_t kSmallObjects = 100'000;
constexpr size_t kSmallBytes = 600;
constexpr size_t kLargeBytes = size_t{3} << 20;

void* kept[kSmallObjects + 1];
__attribute__((noinline)) void Keep(size_t i, size_t size) {
  kept[i] = malloc(size);
  asm volatile("" : : "r"(kept[i]) : "memory");  // no tail call: this frame is to be seen
}

int Reports() {
  for (size_t i = 0; i < kSmallObjects; ++i) Keep(i, kSmallBytes);
  Keep(kSmallObjects, kLargeBytes);
  return malloc_info(0, stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const struct {
    const char* name;
    int (*run)();
  } kCases[] = {
      {"fork", &Fork},
      {"dlclose", &Dlclose},
      {"reports", &Reports},
  };
  for (const auto& c : kCases) {
    if (argc == 2 && strcmp(argv[1], c.name) == 0) return c.run();
  }
  fprintf(stderr, "usage: preloaded CASE\n");
  return 64;
}
