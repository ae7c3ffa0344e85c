// The handler of the preemption signal, and how it is installed (preempt.h).
//
// The handler may interrupt anything. It takes no lock, calls nothing of libc, and is not
// instrumented: its atomics are the compiler's builtins, since std::atomic's members would be calls
// of instrumented functions in a build without optimisation.

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstring>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/runtime/sched/preempt.h"

// The leaf fast paths of the heap and the collector; weak: a binary may have none.
extern "C" {
extern const char __start_plimsoll_nopreempt[] __attribute__((weak));
extern const char __stop_plimsoll_nopreempt[] __attribute__((weak));
}

#if defined(__clang__)
#define PLIMSOLL_UNINSTRUMENTED \
  __attribute__((disable_sanitizer_instrumentation, no_sanitize("address")))
#else
#define PLIMSOLL_UNINSTRUMENTED __attribute__((no_sanitize("thread"), no_sanitize("address")))
#endif

namespace plimsoll::sched {
namespace {

// As the kernel has it.
struct KernelAction {
  union {
    void (*simple)(int);
    void (*with_info)(int, siginfo_t*, void*);
    uintptr_t word;  // SIG_DFL, SIG_IGN
  } handler;
  unsigned long flags;
  void (*restorer)();
  uint64_t mask;
};
constinit KernelAction previous = {};  // written once, before the handler can run

// The text of libc and the dynamic linker: whoever is interrupted there may hold a lock that all
// want.
struct TextRange {
  uintptr_t lo, hi;
};
constexpr size_t kTextRanges = 16;
constinit TextRange libc_text[kTextRanges] = {};
constinit size_t libc_text_count = 0;

// The text of TSan's runtime. Its locks are taken by every instrumented atomic and every new fiber,
// with preemption off too: who is stopped holding one stops all, so nobody is stopped there.
constinit TextRange tsan_text = {};

int AddLibcText(dl_phdr_info* info, size_t, void*) {
  const char* name = info->dlpi_name;
  const char* base = name != nullptr ? strrchr(name, '/') : nullptr;
  if (base == nullptr) return 0;
  ++base;
  if (strncmp(base, "libtsan", 7) == 0) {
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      const auto& segment = info->dlpi_phdr[i];
      if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
      const uintptr_t lo = info->dlpi_addr + segment.p_vaddr;
      tsan_text = {lo, lo + segment.p_memsz};
    }
    return 0;
  }
  if (strncmp(base, "libc.", 5) != 0 && strncmp(base, "ld-", 3) != 0 &&
      strncmp(base, "libjemalloc", 11) != 0) {
    return 0;
  }
  for (int i = 0; i < info->dlpi_phnum && libc_text_count < kTextRanges; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
    const uintptr_t lo = info->dlpi_addr + segment.p_vaddr;
    libc_text[libc_text_count++] = {lo, lo + segment.p_memsz};
  }
  return 0;
}

template <typename T>
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline T* Word(std::atomic<T>& a) {
  return reinterpret_cast<T*>(&a);
}

// The futex calls, with errno untouched.
#if defined(__x86_64__)
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline long Futex(uint32_t* word, int op,
                                                                         uint32_t value) {
  long result;
  register long r10 asm("r10") = 0;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(SYS_futex), "D"(word), "S"(op | FUTEX_PRIVATE_FLAG), "d"(value), "r"(r10)
               : "rcx", "r11", "memory");
  return result;
}
// Whether the word is 0. By the kernel, which wakes none and moves none: the word may be unmapped.
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline bool IsFree(const FutexWaited& w) {
  long result;
  register long r10 asm("r10") = 0;
  register long r8 asm("r8") = reinterpret_cast<long>(w.word);
  register long r9 asm("r9") = 0;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(SYS_futex), "D"(w.word), "S"(FUTEX_CMP_REQUEUE | w.flags), "d"(0), "r"(r10),
                 "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result == 0;
}
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline uintptr_t ProgramCounter(
    const ucontext_t* context) {
  return static_cast<uintptr_t>(context->uc_mcontext.gregs[REG_RIP]);
}
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline uintptr_t BelowRedZone(
    const ucontext_t* context) {
  return static_cast<uintptr_t>(context->uc_mcontext.gregs[REG_RSP]) - 128;
}
#elif defined(__aarch64__)
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline long Futex(uint32_t* word, int op,
                                                                         uint32_t value) {
  register long x8 asm("x8") = SYS_futex;
  register long x0 asm("x0") = reinterpret_cast<long>(word);
  register long x1 asm("x1") = op | FUTEX_PRIVATE_FLAG;
  register long x2 asm("x2") = value;
  register long x3 asm("x3") = 0;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline bool IsFree(const FutexWaited& w) {
  register long x8 asm("x8") = SYS_futex;
  register long x0 asm("x0") = reinterpret_cast<long>(w.word);
  register long x1 asm("x1") = FUTEX_CMP_REQUEUE | w.flags;
  register long x2 asm("x2") = 0;
  register long x3 asm("x3") = 0;
  register long x4 asm("x4") = reinterpret_cast<long>(w.word);
  register long x5 asm("x5") = 0;
  asm volatile("svc 0"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
               : "memory");
  return x0 == 0;
}
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline uintptr_t ProgramCounter(
    const ucontext_t* context) {
  return context->uc_mcontext.pc;
}
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline uintptr_t BelowRedZone(
    const ucontext_t* context) {
  return context->uc_mcontext.sp;
}
#endif

// The futex wait without a deadline that the thread is in, or is about to enter: interrupted there,
// the kernel has it enter the call again (SA_RESTART).
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline FutexWaited WaitOf(
    const ucontext_t* context) {
  FutexWaited none = {};
#if defined(__x86_64__)
  const auto& r = context->uc_mcontext.gregs;
  if (r[REG_RAX] != SYS_futex || r[REG_R10] != 0) return none;
  const auto* at = reinterpret_cast<const uint8_t*>(r[REG_RIP]);
  if (at[0] != 0x0f || at[1] != 0x05) return none;  // syscall
  const auto word = static_cast<uintptr_t>(r[REG_RDI]);
  const auto op = static_cast<uint32_t>(r[REG_RSI]);
  const auto value = static_cast<uint32_t>(r[REG_RDX]);
#elif defined(__aarch64__)
  const auto& r = context->uc_mcontext.regs;
  if (r[8] != SYS_futex || r[3] != 0) return none;
  if (*reinterpret_cast<const uint32_t*>(context->uc_mcontext.pc) != 0xd4000001) {
    return none;  // svc 0
  }
  const auto word = static_cast<uintptr_t>(r[0]);
  const auto op = static_cast<uint32_t>(r[1]);
  const auto value = static_cast<uint32_t>(r[2]);
#endif
  const uint32_t kind = op & ~static_cast<uint32_t>(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
  if (kind != FUTEX_WAIT && kind != FUTEX_WAIT_BITSET) return none;
  return {reinterpret_cast<uint32_t*>(word), value, op & FUTEX_PRIVATE_FLAG};
}

PLIMSOLL_UNINSTRUMENTED void Chain(int signal, siginfo_t* info, void* context) {
  if (previous.handler.word == reinterpret_cast<uintptr_t>(SIG_DFL) ||
      previous.handler.word == reinterpret_cast<uintptr_t>(SIG_IGN)) {
    return;
  }
  if ((previous.flags & SA_SIGINFO) != 0) {
    previous.handler.with_info(signal, info, context);
  } else {
    previous.handler.simple(signal);
  }
}

PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline bool InLibc(uintptr_t pc) {
  for (size_t i = 0; i < libc_text_count; ++i) {
    if (pc >= libc_text[i].lo && pc < libc_text[i].hi) return true;
  }
  return false;
}

// Steps 5 and 8.
PLIMSOLL_UNINSTRUMENTED __attribute__((always_inline)) inline void GiveAndAwaitP(
    M* m, const ucontext_t* context, const FutexWaited& waited) {
  G* g = m->g;
  P* p = m->p;
  m->waited = waited;
  g->call_sp = BelowRedZone(context);
  g->ucontext = context;
  // The stores below are releases of all that this thread did, which TSan does not see here:
  // without this it reports who touches a stopped thread's data as racing. Not within TSan itself:
  // OnPreempt.
  TsanReleaseP(p);
  // release: pairs with the acquire in ForEachG
  __atomic_store_n(reinterpret_cast<uint8_t*>(&g->status),
                   static_cast<uint8_t>(GStatus::kPreempted), __ATOMIC_RELEASE);
  m->p = nullptr;
  p->preempted_m = m;
  p->preempted_g = g;
  // release: pairs with the acquire in TakePreemptedLocked
  __atomic_store_n(reinterpret_cast<uint32_t*>(&p->status),
                   static_cast<uint32_t>(PStatus::kPreempted), __ATOMIC_RELEASE);
  __atomic_fetch_add(Word(sched.sysmon_word), 1, __ATOMIC_RELEASE);
  Futex(Word(sched.sysmon_word), FUTEX_WAKE, 1);
  uint32_t none = 0;
  __atomic_compare_exchange_n(Word(sched.stop_word), &none, 2, false, __ATOMIC_RELEASE,
                              __ATOMIC_RELAXED);
  if (none == 0) Futex(Word(sched.stop_word), FUTEX_WAKE, 1);

  // acquire: pairs with the release in GrantP
  while (__atomic_load_n(Word(m->park_word), __ATOMIC_ACQUIRE) == 0) {
    Futex(Word(m->park_word), FUTEX_WAIT, 0);
  }
  __atomic_store_n(Word(m->park_word), 0, __ATOMIC_RELAXED);
  p = __atomic_load_n(reinterpret_cast<P**>(&m->next_p), __ATOMIC_RELAXED);
  TsanAcquireP(p);
  g->ucontext = nullptr;
  g->bound_m = m->locked_g == g ? m : nullptr;
  __atomic_store_n(reinterpret_cast<uint8_t*>(&g->status), static_cast<uint8_t>(GStatus::kRunning),
                   __ATOMIC_RELAXED);
  m->p = p;
  __atomic_store_n(reinterpret_cast<M**>(&p->m), m, __ATOMIC_RELAXED);
  __atomic_store_n(reinterpret_cast<uint32_t*>(&p->status),
                   static_cast<uint32_t>(PStatus::kRunning), __ATOMIC_RELEASE);
  if (__atomic_load_n(Word(sched.sysmon_sleeps), __ATOMIC_RELAXED) != 0 &&
      __atomic_exchange_n(Word(sched.sysmon_sleeps), 0, __ATOMIC_SEQ_CST) != 0) {
    Futex(Word(sched.sysmon_sleeps), FUTEX_WAKE, 1);
  }
}

PLIMSOLL_UNINSTRUMENTED void OnPreempt(int signal, siginfo_t* info, void* raw_context) {
  M* m = PLIMSOLL_READ_TLS(M, plimsoll_tls_m);
  // acquire: pairs with the release in AskForP
  const uint32_t asked =
      m != nullptr ? __atomic_exchange_n(Word(m->asked), 0, __ATOMIC_ACQUIRE) : 0;
  if (asked == 0 || info->si_code != SI_TKILL) Chain(signal, info, raw_context);
  if (asked == 0) return;
  const auto* context = static_cast<const ucontext_t*>(raw_context);
  const uintptr_t pc = ProgramCounter(context);
  const FutexWaited waited = WaitOf(context);
  // It was woken since sysmon looked, and runs.
  if (asked == kAskedAsleep && waited.word == nullptr) return;
  // Sysmon asks again in a moment.
  if (asked == kAskedAtRelease && !IsFree(m->release)) {
    __atomic_fetch_add(Word(sched.preempt_deferred), 1, __ATOMIC_RELAXED);
    return;
  }
  if (m->no_preempt != 0 || m->p == nullptr ||
      (pc >= reinterpret_cast<uintptr_t>(__start_plimsoll_nopreempt) &&
       pc < reinterpret_cast<uintptr_t>(__stop_plimsoll_nopreempt))) {
    __atomic_store_n(Word(m->attention), 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(Word(sched.preempt_deferred), 1, __ATOMIC_RELAXED);
    return;
  }
  // (One that sleeps in libc is there for as long as it sleeps.)
  if ((asked == kAskedGently && waited.word == nullptr && InLibc(pc)) ||
      (pc >= tsan_text.lo && pc < tsan_text.hi)) {
    __atomic_fetch_add(Word(sched.preempt_deferred), 1, __ATOMIC_RELAXED);
    return;
  }
  do {
    GiveAndAwaitP(m, context, waited);
    // The P that was granted may be one that the stopper waits for.
  } while ((__atomic_load_n(Word(sched.mode), __ATOMIC_RELAXED) & kStopping) != 0);
}

#if defined(__x86_64__)
// What the kernel returns to when the handler is done; glibc's own is not to be had by name. The
// CFI is what unwinders know a signal frame by.
asm(R"(
  .text
  .p2align 4
  nop
  .type plimsoll_preempt_return, @function
plimsoll_preempt_return:
  movq $15, %rax
  syscall
  .size plimsoll_preempt_return, . - plimsoll_preempt_return
)");
extern "C" void plimsoll_preempt_return();
#endif

}  // namespace

bool InstallPreemptHandler(int signal) {
  dl_iterate_phdr(AddLibcText, nullptr);
  KernelAction action = {};
  action.handler.with_info = OnPreempt;
  action.flags = SA_ONSTACK | SA_RESTART | SA_SIGINFO;
#if defined(__x86_64__)
  action.flags |= 0x04000000;  // SA_RESTORER
  action.restorer = plimsoll_preempt_return;
#endif
  // All but what a fault raises: another handler must not run on a thread that waits in this one.
  action.mask = ~uint64_t{0};
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGQUIT}) {
    action.mask &= ~(uint64_t{1} << (fault - 1));
  }
  const long rc =
      base::RawSyscall(SYS_rt_sigaction, signal, &action, &previous, sizeof(action.mask));
  if (rc == 0) return true;
  base::RawLog("plimsoll: no preemption by signal ", signal, ": ",
               base::ErrnoName(static_cast<int>(-rc)));
  return false;
}

void AskForP(P* p, Asked how) {
  M* m = p->m.load(std::memory_order_acquire);
  if (m == nullptr || sched.preempt_signal == 0) return;
  base::SpinLockHolder hold(m->signal_mu);
  const int32_t tid = m->tid.load(std::memory_order_relaxed);
  if (tid == 0) return;
  // release: pairs with the acquire in the handler
  m->asked.store(how, std::memory_order_release);
  sched.preempt_asked.fetch_add(1, std::memory_order_relaxed);
  base::RawSyscall(SYS_tgkill, getpid(), tid, sched.preempt_signal);
}

void AskNoMore(M* m) {
  {
    base::SpinLockHolder hold(m->signal_mu);
    m->tid.store(0, std::memory_order_relaxed);
  }
  if (m->asked.exchange(kNotAsked, std::memory_order_relaxed) == kNotAsked) return;
  // Ours is pending, and nobody would answer it: the program would take it for its own.
  const uint64_t ours = uint64_t{1} << (sched.preempt_signal - 1);
  const timespec at_once = {};
  (void)base::RawSyscall(SYS_rt_sigtimedwait, &ours, 0, &at_once, sizeof(ours));
}

}  // namespace plimsoll::sched
