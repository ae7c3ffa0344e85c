/* Runs one malloc and one free an instruction at a time, and prints where each instruction is:
 *
 *   step_trace SIZE      with the library to look at in LD_PRELOAD
 *   malloc 0x9c90        a line for each instruction within that library, by its offset
 *   free 0x9d60
 *
 * The processor's trap flag does it: no debugger, and no privilege. golden_test.py counts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { kMost = 4096 };
static uintptr_t steps[kMost];
static volatile int count;

static void OnStep(int signal, siginfo_t* info, void* context) {
  (void)signal;
  (void)info;
  if (count < kMost) steps[count++] = ((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
}

#define SET_TRAP_FLAG() \
  __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc")
#define CLEAR_TRAP_FLAG() \
  __asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc")

static void Print(const char* what, const void* base) {
  for (int i = 0; i < count; ++i) {
    Dl_info where;
    if (dladdr((void*)steps[i], &where) == 0 || where.dli_fbase != base) continue;
    printf("%s 0x%lx\n", what, (unsigned long)(steps[i] - (uintptr_t)base));
  }
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: step_trace SIZE\n");
    return 64;
  }
  const size_t size = strtoul(argv[1], NULL, 10);
  void* (*volatile allocate)(size_t) = malloc;
  void (*volatile give_back)(void*) = free;

  Dl_info library;
  if (dladdr((void*)allocate, &library) == 0) return 1;
  struct sigaction action = {.sa_sigaction = OnStep, .sa_flags = SA_SIGINFO};
  sigaction(SIGTRAP, &action, NULL);
  /* Warm: the cache exists, a span is current, and the next object is neither a word's first nor last. */
  void* warm[8];
  for (int i = 0; i < 8; ++i) warm[i] = allocate(size);
  for (int i = 0; i < 3; ++i) give_back(warm[i]);

  SET_TRAP_FLAG();
  void* p = allocate(size);
  CLEAR_TRAP_FLAG();
  const int malloc_steps = count;
  SET_TRAP_FLAG();
  give_back(p);
  CLEAR_TRAP_FLAG();
  const int all = count;

  count = malloc_steps;
  Print("malloc", library.dli_fbase);
  memmove(steps, steps + malloc_steps, (size_t)(all - malloc_steps) * sizeof(steps[0]));
  count = all - malloc_steps;
  Print("free", library.dli_fbase);
  return 0;
}
