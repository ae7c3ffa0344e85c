#include "plimsoll/runtime/sched/crash.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/runtime/sched/freeze_wait.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/sanitizer.h"
#include "plimsoll/runtime/sched/stack_use.h"
#include "plimsoll/runtime/sched/thread_state.h"
#include "plimsoll/runtime/sched/traceback.h"

#ifdef PLIMSOLL_TSAN
// libc's own, past ThreadSanitizer's: that one keeps a signal back until the thread calls something
// it intercepts, and a thread that spins or sleeps in a raw call never does.
extern "C" int __sigaction(int, const struct sigaction*, struct sigaction*);
#define PLIMSOLL_SIGACTION __sigaction
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
#else
#define PLIMSOLL_SIGACTION sigaction
#endif

namespace plimsoll::sched {
namespace {

#if defined(PLIMSOLL_ASAN) || defined(PLIMSOLL_TSAN)
constexpr bool kFaultsAreOurs = false;
#else
constexpr bool kFaultsAreOurs = true;
#endif

struct SignalName {
  int number;
  std::string_view name;
  std::string_view text;  // Go's words
  bool fault;             // raised by an instruction
};
constexpr SignalName kSignals[] = {
    {SIGSEGV, "SIGSEGV", "segmentation violation", true},
    {SIGBUS, "SIGBUS", "bus error", true},
    {SIGFPE, "SIGFPE", "floating-point exception", true},
    {SIGILL, "SIGILL", "illegal instruction", false},
    {SIGABRT, "SIGABRT", "abort", false},
    {SIGQUIT, "SIGQUIT", "quit", false},
};

constinit TracebackLevel traceback_level = TracebackLevel::kSingle;
struct sigaction previous[std::size(kSignals)];
constinit std::atomic<bool> installed{false};

// The thread that ends the process; 0: none yet.
constinit std::atomic<int32_t> crashing{0};

// What others wrote is read while they are stopped, which ThreadSanitizer cannot know.
struct UnseenReads {
#ifdef PLIMSOLL_TSAN
  UnseenReads() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~UnseenReads() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
#else
  UnseenReads() {}
#endif
};

// A panic or a fatal error asks its own thread's handler to print: that runs on the altstack, and
// sees the registers.
struct Request {
  std::atomic<int32_t> tid{0};
  const base::RawText* panic = nullptr;  // null: a fatal error, whose text is written
  std::string_view file;
  uint32_t line = 0;
};
constinit Request request;

int32_t Tid() { return static_cast<int32_t>(base::RawSyscall(SYS_gettid)); }

void SleepNs(int64_t ns) {
  timespec t{ns / 1'000'000'000, ns % 1'000'000'000};
  base::RawSyscall(SYS_nanosleep, &t, 0);
}

[[noreturn]] void EndProcess() {
  if (traceback_level == TracebackLevel::kCrash) {
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    PLIMSOLL_SIGACTION(SIGABRT, &standard, nullptr);
    uint64_t mask = uint64_t{1} << (SIGABRT - 1);
    base::RawSyscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &mask, 0, sizeof(mask));
    base::RawSyscall(SYS_tgkill, getpid(), Tid(), SIGABRT);
  }
  // Also where that did nothing: PID 1 has no default actions.
  for (;;) base::RawSyscall(SYS_exit_group, 2);
}

// The first thread that fails prints. Others stay where they are; if the first cannot finish, they
// end the process after a while.
bool BecomeTheOneThatPrints() {
  int32_t nobody = 0;
  if (!crashing.compare_exchange_strong(nobody, Tid(), std::memory_order_acq_rel)) return false;
  // Up to the end of the process: once the others are frozen nobody would give it a P again, and a
  // signal that asks for its P may wait until the handler that prints returns.
  if (M* m = CurrentM()) ++m->no_preempt;
  return true;
}

[[noreturn]] void WaitForTheEnd() {
  SleepNs(60'000'000'000);
  EndProcess();
}

void OnSignal(int number, siginfo_t* info, void* context);

// Whether m has a thread, and it is not `self`.
bool IsOther(const M* m, int32_t self) {
  const int32_t tid = m->tid.load(std::memory_order_relaxed);
  return tid != 0 && tid != self;
}

// Stops every other M by SIGQUIT: its handler tells its registers and stays there. How long one
// that does not answer is waited for: freeze_wait.h.
void FreezeOthers() {
  struct sigaction now;
  PLIMSOLL_SIGACTION(SIGQUIT, nullptr, &now);
  if (now.sa_sigaction != OnSignal) return;
  const int32_t self = Tid();
  // acquire: pairs with the release in BecomeM
  M* const all = sched.all_ms.load(std::memory_order_acquire);
  for (M* m = all; m != nullptr; m = m->all_link) {
    if (IsOther(m, self)) {
      base::RawSyscall(SYS_tgkill, getpid(), m->tid.load(std::memory_order_relaxed), SIGQUIT);
    }
  }
  FreezeWait wait(NowNanos());
  for (M* m = all; m != nullptr; m = m->all_link) {
    const auto answered = [&] {
      return !IsOther(m, self) || m->frozen_context.load(std::memory_order_acquire) != nullptr;
    };
    if (answered()) continue;
    const int32_t tid = m->tid.load(std::memory_order_relaxed);
    wait.For(ThreadCpuNanos(tid));
    for (int64_t pause_ns = 200'000; !answered();) {
      // It sleeps where it stays, having answered.
      const char state = ThreadState(tid);
      if (answered() || !wait.GoesOn(NowNanos(), state, ThreadCpuNanos(tid))) break;
      SleepNs(pause_ns);
      if (pause_ns < 5'000'000) pause_ns *= 2;
    }
  }
}

// The goroutine whose stack `sp` lies in, or null.
G* OwnerOfStack(uintptr_t sp) {
  stack::Stack slot;
  if (sched.stacks.FindGuard(sp, &slot) || slot.hi == 0) return nullptr;
  return GOfStack(slot);
}

bool Holds(const stack::Stack& stack, uintptr_t address) {
  return address >= stack.lo && address < stack.hi;
}

// Which goroutine the registers belong to: between m->g and the jump of a switch, not m->g's.
const G* OwnerOf(const M* m, const symbolize::Registers& regs) {
  const uintptr_t sp = regs.r[symbolize::kStackPointer];
  if (m->attach_depth > 0) return Holds(m->attached_g->stack, sp) ? m->attached_g : &m->g0;
  if (G* g = OwnerOfStack(sp)) return g;
  return m->g;
}

// Whether a fault at `address` is an attached thread's that left its stack at the lower end. libc's
// guard is there, a page of it at least; or nothing is.
bool IsBelowAttached(const M* m, uintptr_t address) {
  constexpr uintptr_t kGuard = 4096;
  const G* g = m->g;
  return g->is_attached && address < g->stack.lo && address >= g->stack.lo - kGuard;
}

void PrintRegisters(const ucontext_t* context) {
#if defined(__x86_64__)
  static constexpr struct {
    std::string_view name;
    int index;
  } kNames[] = {{"rax    ", REG_RAX}, {"rbx    ", REG_RBX}, {"rcx    ", REG_RCX},
                {"rdx    ", REG_RDX}, {"rdi    ", REG_RDI}, {"rsi    ", REG_RSI},
                {"rbp    ", REG_RBP}, {"rsp    ", REG_RSP}, {"r8     ", REG_R8},
                {"r9     ", REG_R9},  {"r10    ", REG_R10}, {"r11    ", REG_R11},
                {"r12    ", REG_R12}, {"r13    ", REG_R13}, {"r14    ", REG_R14},
                {"r15    ", REG_R15}, {"rip    ", REG_RIP}, {"rflags ", REG_EFL}};
  base::RawLog("");
  for (const auto& r : kNames) {
    base::RawLog(r.name, base::Hex(context->uc_mcontext.gregs[r.index]));
  }
  const uint64_t segments = static_cast<uint64_t>(context->uc_mcontext.gregs[REG_CSGSFS]);
  base::RawLog("cs     ", base::Hex(segments & 0xffff));
  base::RawLog("fs     ", base::Hex((segments >> 32) & 0xffff));
  base::RawLog("gs     ", base::Hex((segments >> 16) & 0xffff));
#elif defined(__aarch64__)
  base::RawLog("");
  for (int i = 0; i < 31; ++i) {
    base::RawLog("r", i, i < 10 ? "     " : "    ", base::Hex(context->uc_mcontext.regs[i]));
  }
  base::RawLog("sp     ", base::Hex(context->uc_mcontext.sp));
  base::RawLog("pc     ", base::Hex(context->uc_mcontext.pc));
#endif
}

const SignalName& NameOf(int number) {
  for (const SignalName& s : kSignals) {
    if (s.number == number) return s;
  }
  return kSignals[0];
}

// The current goroutine, then, if wanted, all others.
void PrintGoroutines(Traceback& traceback, const M* m, const symbolize::Registers& regs,
                     bool others) {
  const UnseenReads unseen;
  const G* current = m != nullptr ? OwnerOf(m, regs) : nullptr;
  if (traceback_level == TracebackLevel::kNone) return;
  if (others || traceback_level >= TracebackLevel::kAll) {
    FreezeOthers();
    others = true;
  }
  if (current != nullptr) traceback.Print(current, &regs);
  if (others) traceback.PrintAll(current);
}

// Go's "SIGxxx: words", for what is nobody's fault in particular.
[[noreturn]] void DieOfSignal(const SignalName& s, const siginfo_t* info, void* context,
                              const M* m) {
  const symbolize::Registers regs = symbolize::RegistersOf(context);
  base::RawText text;
  text.Add(s.name);
  text.Add(": ");
  text.Add(s.text);
  text.Add("\nPC=");
  text.Add(base::Hex(regs.pc));
  text.Add(" m=");
  text.Add(m != nullptr ? static_cast<int>(m->id) : -1);
  text.Add(" sigcode=");
  text.Add(info->si_code);
  if (s.fault) {
    text.Add(" addr=");
    text.Add(base::Hex(info->si_addr));
  }
  base::RawLogText(text);
  Traceback traceback(traceback_level);
  PrintGoroutines(traceback, m, regs, /*others=*/true);
  if (traceback_level != TracebackLevel::kNone) {
    if (s.number == SIGQUIT) {
      const UnseenReads unseen;
      PrintDeepestStacks();
    }
    PrintRegisters(static_cast<ucontext_t*>(context));
  }
  EndProcess();
}

[[noreturn]] void DieOfOverflow(const G* g, const M* m, const symbolize::Registers& regs) {
  base::RawLog(g->is_attached ? "runtime: attached thread's stack exceeds "
                              : "runtime: goroutine stack exceeds ",
               g->stack.hi - g->stack.lo, "-byte limit");
  base::RawLog("runtime: sp=", base::Hex(regs.r[symbolize::kStackPointer]), " stack=[",
               base::Hex(g->stack.lo), ", ", base::Hex(g->stack.hi), "]");
  base::RawLog("fatal error: stack overflow");
  Traceback traceback(traceback_level);
  if (traceback_level != TracebackLevel::kNone) {
    FreezeOthers();
    traceback.Print(g, &regs);
    traceback.PrintAll(g);
    PrintDeepestStacks();
    PrintHowToGetMore(g);
  }
  EndProcess();
}

void AddSignalLine(base::RawText& text, const SignalName& s, const siginfo_t* info,
                   const symbolize::Registers& regs) {
  text.Add("\n[signal ");
  text.Add(s.name);
  text.Add(": ");
  text.Add(s.text);
  text.Add(" code=");
  text.Add(base::Hex(info->si_code));
  text.Add(" addr=");
  text.Add(base::Hex(info->si_addr));
  text.Add(" pc=");
  text.Add(base::Hex(regs.pc));
  text.Add("]");
}

// A fault of the goroutine's own code.
[[noreturn]] void DieOfFault(const SignalName& s, const siginfo_t* info, void* context,
                             const M* m) {
  const symbolize::Registers regs = symbolize::RegistersOf(context);
  base::RawText text;
  bool others = false;
  if (s.number == SIGFPE) {
    text.Add(info->si_code == FPE_INTDIV ? "panic: runtime error: integer divide by zero"
                                         : "panic: runtime error: floating point error");
  } else if (reinterpret_cast<uintptr_t>(info->si_addr) < 4096 && info->si_code != SI_KERNEL) {
    text.Add("panic: runtime error: invalid memory address or nil pointer dereference");
  } else {
    others = true;
    text.Add("unexpected fault address ");
    text.Add(base::Hex(info->si_addr));
    stack::Stack slot;
    if (sched.stacks.FindGuard(reinterpret_cast<uintptr_t>(info->si_addr), &slot)) {
      text.Add(" (in the guard of goroutine ");
      text.Add(GOfStack(slot)->id);
      text.Add("'s stack)");
    }
    text.Add("\nfatal error: fault");
  }
  AddSignalLine(text, s, info, regs);
  base::RawLogText(text);
  Traceback traceback(traceback_level);
  PrintGoroutines(traceback, m, regs, others);
  EndProcess();
}

// What the thread asked of its own handler (Request).
void Answer(const M* m, void* context) {
  const symbolize::Registers regs = symbolize::RegistersOf(context);
  const bool panic = request.panic != nullptr;
  if (panic) base::RawLog("panic: ", request.panic->view());
  Traceback traceback(traceback_level);
  if (panic) traceback.SetThrown(request.file, request.line);
  // A deadlock is found on g0, which tells nothing.
  if (m->g->is_system_stack && traceback_level < TracebackLevel::kSystem) {
    if (traceback_level != TracebackLevel::kNone) {
      const UnseenReads unseen;
      FreezeOthers();
      traceback.PrintAll(nullptr);
    }
  } else {
    PrintGoroutines(traceback, m, regs, !panic);
  }
}

// Lets the handler that was there before have the signal. False: there was none.
bool CallPrevious(int number, siginfo_t* info, void* context) {
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    if (kSignals[i].number != number) continue;
    const struct sigaction& before = previous[i];
    if ((before.sa_flags & SA_SIGINFO) != 0) {
      before.sa_sigaction(number, info, context);
      return true;
    }
    if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) return false;
    before.sa_handler(number);
    return true;
  }
  return false;
}

// The signal comes again once the handler returns, and then does what it did without us.
void LeaveToDefault(int number, const siginfo_t* info) {
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  PLIMSOLL_SIGACTION(number, &standard, nullptr);
  // One that was sent does not come again by itself.
  if (info->si_code <= 0) base::RawSyscall(SYS_tgkill, getpid(), Tid(), number);
}

void OnSignal(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const SignalName& s = NameOf(number);
  M* const m = CurrentM();
  const int32_t self = Tid();
  const int32_t owner = crashing.load(std::memory_order_acquire);
  if (m == nullptr && InForkedChild()) {  // what a child without us would do
    LeaveToDefault(number, info);
    errno = saved_errno;
    return;
  }

  if (request.tid.load(std::memory_order_acquire) == self && number == SIGQUIT && m != nullptr) {
    Answer(m, context);
    request.tid.store(0, std::memory_order_release);
    errno = saved_errno;
    return;
  }
  if (owner == self) {
    const symbolize::Registers regs = symbolize::RegistersOf(context);
    base::RawLog("\n[", s.name, " while printing this: addr=", base::Hex(info->si_addr),
                 " pc=", base::Hex(regs.pc), "; the rest is missing]");
    EndProcess();
  }
  if (owner != 0) {
    // Another thread ends the process: it wants our registers, and that we touch nothing more.
    if (m != nullptr) m->frozen_context.store(context, std::memory_order_release);
    WaitForTheEnd();
  }

  if (s.fault && info->si_code > 0) {
    if (m == nullptr) {
      if (!CallPrevious(number, info, context)) LeaveToDefault(number, info);
      errno = saved_errno;
      return;
    }
    const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
    stack::Stack slot;
    const bool overflow = number != SIGFPE && !m->altstack.Holds(address) &&
                          ((sched.stacks.FindGuard(address, &slot) && GOfStack(slot) == m->g) ||
                           IsBelowAttached(m, address));
    if (!overflow && CallPrevious(number, info, context)) {
      errno = saved_errno;
      return;
    }
    if (!BecomeTheOneThatPrints()) WaitForTheEnd();
    if (overflow) DieOfOverflow(m->g, m, symbolize::RegistersOf(context));
    if (!m->g->is_system_stack) DieOfFault(s, info, context, m);
    DieOfSignal(s, info, context, m);
  }
  // Sent to a thread that is not ours: SIGQUIT is for the process, the others are for the thread.
  if (m == nullptr && number != SIGQUIT) {
    if (!CallPrevious(number, info, context)) LeaveToDefault(number, info);
    errno = saved_errno;
    return;
  }
  if (!BecomeTheOneThatPrints()) WaitForTheEnd();
  DieOfSignal(s, info, context, m);
}

// Has this thread's handler do what `request` says. False: it could not.
bool AskOwnHandler() {
  const M* m = CurrentM();
  if (!installed.load(std::memory_order_acquire) || m == nullptr || m->altstack.lo == 0)
    return false;
  const int32_t self = Tid();
  request.tid.store(self, std::memory_order_release);
  uint64_t quit = uint64_t{1} << (SIGQUIT - 1);
  base::RawSyscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &quit, 0, sizeof(quit));
  base::RawSyscall(SYS_tgkill, getpid(), self, SIGQUIT);
  // Delivered before the call returned, unless somebody else handles SIGQUIT now.
  return request.tid.exchange(0, std::memory_order_acq_rel) == 0;
}

}  // namespace

bool FrozenRegisters(const G* g, symbolize::Registers* out) {
  for (const M* m = sched.all_ms.load(std::memory_order_acquire); m != nullptr; m = m->all_link) {
    const void* context = m->frozen_context.load(std::memory_order_acquire);
    if (context == nullptr) continue;
    *out = symbolize::RegistersOf(context);
    if (OwnerOf(m, *out) == g) return true;
  }
  return false;
}

void InstallCrashHandlers(TracebackLevel level) {
  traceback_level = level;
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    const SignalName& s = kSignals[i];
    if (s.number != SIGQUIT && !kFaultsAreOurs) continue;
    PLIMSOLL_SIGACTION(s.number, nullptr, &previous[i]);
    const bool standard =
        (previous[i].sa_flags & SA_SIGINFO) == 0 && previous[i].sa_handler == SIG_DFL;
    // An ignored SIGQUIT (nohup) stays ignored; a handled one is the program's.
    if (!s.fault && !standard) continue;
    struct sigaction action = {};
    action.sa_sigaction = OnSignal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    // A fault within the handler must find the handler.
    for (const SignalName& other : kSignals) {
      if (other.fault) sigdelset(&action.sa_mask, other.number);
    }
    if (s.fault) action.sa_flags |= SA_NODEFER;
    PLIMSOLL_CHECK(PLIMSOLL_SIGACTION(s.number, &action, nullptr) == 0, "sigaction(", s.name, ")");
  }
  base::SetFatalHook(DumpGoroutines);
  installed.store(true, std::memory_order_release);
}

void CrashByPanic(const base::RawText& text, std::string_view file, uint32_t line) {
  if (InForkedChild()) {
    base::RawLog("panic: ", text.view());
    EndProcess();
  }
  if (!BecomeTheOneThatPrints()) WaitForTheEnd();
  request.panic = &text;
  request.file = file;
  request.line = line;
  if (!AskOwnHandler()) {
    base::RawLog("panic: ", text.view());
    Traceback traceback(traceback_level);
    traceback.SetThrown(file, line);
    const symbolize::Registers here = symbolize::RegistersHere();
    if (traceback_level != TracebackLevel::kNone) traceback.Print(CurrentG(), &here);
  }
  EndProcess();
}

void DumpGoroutines() {
  if (InForkedChild()) return;
  if (!BecomeTheOneThatPrints()) {
    if (crashing.load(std::memory_order_acquire) != Tid()) WaitForTheEnd();
    return;
  }
  request.panic = nullptr;
  request.file = {};
  if (AskOwnHandler() || traceback_level == TracebackLevel::kNone) return;
  const UnseenReads unseen;
  const G* g = CurrentG();
  const symbolize::Registers here = symbolize::RegistersHere();
  Traceback traceback(traceback_level);
  if (!g->is_system_stack) traceback.Print(g, &here);
  FreezeOthers();
  traceback.PrintAll(g);
}

}  // namespace plimsoll::sched
