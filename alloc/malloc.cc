// malloc and operator new for a whole binary: //alloc:malloc when linked in, libplimsoll_malloc.so
// when preloaded.
//
// Promises beyond C's: 16-byte alignment; malloc_usable_size() bytes may be written; free keeps
// errno; sizes above PTRDIFF_MAX are refused; malloc(0) is a pointer of its own; realloc(p, 0)
// frees p and answers null, as glibc's does. Works before constructors have run and after a
// thread's destructors have; in the child of a fork of a threaded program.
//
// Nothing here may use libstdc++, stdio, or anything that might allocate.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/environment.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/heap.h"
#include "plimsoll/alloc/heap_ops.h"
#include "plimsoll/alloc/memory_limit.h"
#include "plimsoll/alloc/new_handler.h"
#include "plimsoll/alloc/span_map.h"

#define PLIMSOLL_EXPORT extern "C" __attribute__((visibility("default")))

// libstdc++'s, when the program has it. Weak: a C program has not, and this object does not bring
// it.
extern std::new_handler plimsoll_get_new_handler() __asm__("_ZSt15get_new_handlerv")
    __attribute__((weak));
extern void plimsoll_throw_bad_alloc() __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));

#ifdef PLIMSOLL_PRELOADED
// What string_view calls where its checks are not optimised away. The object needs nothing of
// libstdc++'s, and has its own: nothing here goes out of range.
[[noreturn]] __attribute__((visibility("hidden"))) void OutOfRange(const char* what, ...) __asm__(
    "_ZSt24__throw_out_of_range_fmtPKcz");
void OutOfRange(const char* what, ...) { plimsoll::base::Fatal("out of range: ", what); }
#endif

namespace {

using plimsoll::Heap;
using plimsoll::HeapStats;
using namespace plimsoll::alloc;  // NOLINT: this file is that namespace's face

// ---- the background thread ----

// It gives idle memory back, and exists only where this much was held: short programs never have
// it. Who makes it is a question of libc's locks. glibc calls free with the lock on its list of
// thread stacks held (pthread_join and a detached thread's end, when they unmap old stacks), and
// pthread_create takes that lock. It never calls malloc with it held, and never holds it where the
// process has one thread. So:
//   - while the process has one thread, the free that finds much idle makes it;
//   - afterwards malloc does, in its slow path, as soon as this much is held: before it can lie
//     idle. A thread's first malloc and pthread_create's own calloc come by there.
//   - free wakes it, where it is.
constexpr uint64_t kWorthAThread = uint64_t{16} << 20;

enum : uint32_t { kNoThread, kStepping, kAsleep, kNever };
constinit std::atomic<uint32_t> background{kNoThread};

// After a thread could not be made: when the next try is, and how long after that one the one
// after; the latter is whose `background` it was to set.
constinit std::atomic<int64_t> retry_ns{INT64_MIN};
constinit int64_t retry_after_ns = 1'000'000'000;

int64_t NowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

// Whether there is work for it: more than `left` is idle, or was freed and its owner may not hear
// of it.
bool HasWork(uint64_t left) {
  return core.pages.IdleBytes() > left || (core.much_sent.load(std::memory_order_seq_cst) &&
                                           core.pages.HeldBytes() >= kWorthAThread);
}

// Follows the limit that the process was given, unless the program tells the heap one: the runtime
// does, whose collector knows more.
void FollowLimit(int64_t now_ns) {
  constexpr int64_t kEveryNs = 2'000'000'000;
  constinit static MemoryLimit limit;
  static int64_t next_ns = 0;
  static uint64_t ours = UINT64_MAX;
  if (now_ns < next_ns || core.limit_told.load(std::memory_order_relaxed)) return;
  if (next_ns == 0) limit.Find();
  next_ns = now_ns + kEveryNs;
  const uint64_t share = limit.HeapShare(core.pages.HeldBytes());
  if (core.pages.ReplaceLimit(ours, share)) ours = share;
}

void* Background(void*) {
  constexpr int64_t kStepNs = 100'000'000;
  constexpr int64_t kAsleepNs = 30'000'000'000;
  std::atomic<uint32_t> nobody{0};
  int idle_steps = 0;
  uint64_t left = kWorthAThread;
  for (;;) {
    while (background.load(std::memory_order_seq_cst) == kAsleep && !HasWork(left)) {
      // A resize of the container finds it asleep.
      FollowLimit(NowNs());
      plimsoll::base::FutexWait(background, kAsleep, kAsleepNs);
    }
    background.store(kStepping, std::memory_order_relaxed);
    FollowLimit(NowNs());
    // A minute without work, and it sleeps until somebody frees a lot.
    if (Heap::Step(NowNs()).idle) {
      if (++idle_steps > 600) {
        left = std::max(kWorthAThread, core.pages.IdleBytes());
        background.store(kAsleep, std::memory_order_seq_cst);
        idle_steps = 0;
      }
    } else {
      idle_steps = 0;
    }
    plimsoll::base::FutexWait(nobody, 0, kStepNs);
  }
  return nullptr;
}

// The thread, asleep unless there is work for it. Only where pthread_create may be called: see
// above.
[[gnu::noinline]] void MakeBackground() {
  uint32_t state = kNoThread;
  if (NowNs() < retry_ns.load(std::memory_order_relaxed)) return;
  const uint32_t first = !watch.settings.thread                    ? kNever
                         : core.pages.IdleBytes() >= kWorthAThread ? kStepping
                                                                   : kAsleep;
  // From here on a free may wake it, even before it runs: it looks before it sleeps.
  if (!background.compare_exchange_strong(state, first, std::memory_order_seq_cst)) return;
  if (first == kNever) return;
  const int error = errno;
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 128 << 10);
  pthread_t thread;
  // Without a thread (pids.max) memory stays, until one can be made: it is tried again after a
  // second, and each time after twice as long, up to a minute.
  if (pthread_create(&thread, &attributes, &Background, nullptr) != 0) {
    retry_ns.store(NowNs() + retry_after_ns, std::memory_order_relaxed);
    retry_after_ns = std::min(retry_after_ns * 2, int64_t{60'000'000'000});
    // release: pairs with the next try's compare_exchange, for retry_after_ns
    background.store(kNoThread, std::memory_order_release);
  }
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  errno = error;
}

[[gnu::noinline]] void WakeBackground() {
  // seq_cst: pairs with the store in Background(). Of "set what it looks at, then see it asleep"
  // and "say that it sleeps, then look" one must see the other.
  uint32_t state = background.load(std::memory_order_seq_cst);
  if (state == kNoThread) {
    if (__libc_single_threaded && core.pages.IdleBytes() >= kWorthAThread) MakeBackground();
  } else if (state == kAsleep && core.pages.HeldBytes() >= kWorthAThread &&
             background.compare_exchange_strong(state, kStepping, std::memory_order_seq_cst)) {
    plimsoll::base::FutexWake(background, 1);
  }
}

// After malloc's slow path: in a process with threads the thread must be there before a free needs
// it.
[[gnu::always_inline]] inline void PrepareBackground() {
  if (background.load(std::memory_order_relaxed) == kNoThread && !__libc_single_threaded &&
      core.pages.HeldBytes() >= kWorthAThread) [[unlikely]]
    MakeBackground();
}

// After memory was freed: sees to it that somebody gives it back, or takes it from an owner who
// does not come by. libc's locks may be held.
[[gnu::always_inline]] inline void KeepBackground() {
  if (core.pages.IdleBytes() >= kWorthAThread || core.much_sent.load(std::memory_order_relaxed))
      [[unlikely]]
    WakeBackground();
}

void WriteToFd(std::string_view text, void* to) {
  plimsoll::base::RawWrite(*static_cast<int*>(to), text);
}

// ---- reports at exit ----

// `pattern` with the process's number for each %p, so that a program's children write files of
// their own. False: it does not fit.
bool ExpandPath(const char* pattern, char* path, size_t room) {
  plimsoll::base::RawText number;
  number.Add(getpid());
  for (size_t size = 0; size < room;) {
    if (pattern[0] == '%' && pattern[1] == 'p') {
      const std::string_view digits = number.view();
      if (digits.size() >= room - size) return false;
      memcpy(path + size, digits.data(), digits.size());
      size += digits.size();
      pattern += 2;
      continue;
    }
    path[size] = *pattern;
    if (*pattern == '\0') return true;
    ++size;
    ++pattern;
  }
  return false;
}

// Writes a file that `variable` names, when the program ends; not where the path ends in a symbolic
// link, which in a folder that others may write to leads wherever they like.
void WriteAtExit(const char* variable,
                 bool (*write)(void (*piece)(std::string_view bytes, void* to), void* to)) {
  const char* pattern = plimsoll::base::FromEnvironment(variable);
  if (pattern == nullptr || *pattern == '\0') return;
  char path[PATH_MAX];
  errno = ENAMETOOLONG;
  const int fd = ExpandPath(pattern, path, sizeof(path))
                     ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644)
                     : -1;
  if (fd < 0) {
    plimsoll::base::RawLog("plimsoll: ", variable, "=", plimsoll::base::Quoted{pattern}, ": ",
                           plimsoll::base::ErrnoName(errno));
    return;
  }
  int to = fd;
  if (!write(&WriteToFd, &to)) plimsoll::base::RawLog("plimsoll: ", variable, ": no memory");
  close(fd);
}

// PLIMSOLL_HEAP_PROFILE=PATH: what is live, for pprof. PLIMSOLL_HEAP_PICTURE=PATH: which pages hold
// what, as SVG. %p in a PATH is the process's number.
void WriteReports() {
  WriteAtExit("PLIMSOLL_HEAP_PROFILE", &Heap::WriteProfile);
  WriteAtExit("PLIMSOLL_HEAP_PICTURE", &Heap::WritePicture);
}

// Frees that the thread has not sent yet are looked at now, if never before: one of them may be of
// what its owner has freed as well.
void SendFrees() {
  SlowPath hold;
  if (MCache* cache = EnsureCache()) cache->FlushPending();
}

__attribute__((destructor)) void AtExit() {
  SendFrees();
  WriteReports();
}

// ---- fork ----

// With all the heap's locks in its hand a goroutine must not be stopped in place: whoever is given
// its P would wait for them with that P. The child leaves preemption off: it has one thread, and
// nobody would give it a P again.
void BeforeFork() {
  PreemptOff();
  LockAllForFork();
}
void AfterForkInParent() {
  UnlockAllAfterFork();
  PreemptOn();
}
void AfterForkInChild() {
  // Other threads are gone, and their caches with them: what those hold stays in use. The locks are
  // the forking thread's own.
  UnlockAllAfterFork();
  core.stepping.store(false, std::memory_order_relaxed);
  background.store(kNoThread, std::memory_order_relaxed);
}

// A thread's cache was given back, and its pages may be what lies idle. Its keys' destructors run
// without a lock of libc's.
void OnThreadEnd() {
  PrepareBackground();
  KeepBackground();
}

// Before any constructor of a program or library, so that our handlers are the first of all: those
// before a fork run last in, first out, and others' may allocate until ours has the locks. glibc
// has room for 48 handlers without a malloc.
void BeforeConstructors() {
  SealRegions();  // before the program can call mlockall()
  SetThreadEndHook(&OnThreadEnd);
  pthread_atfork(&BeforeFork, &AfterForkInParent, &AfterForkInChild);
}
#ifdef PLIMSOLL_PRELOADED
// The object is linked with -z initfirst: it comes before a program's .preinit_array too.
__attribute__((constructor)) void RunFirst() { BeforeConstructors(); }
#else
__attribute__((section(".preinit_array"),
               used)) void (*const before_constructors)() = &BeforeConstructors;
#endif

// ---- helpers ----

constexpr size_t kMost = PTRDIFF_MAX;

[[gnu::noinline, gnu::cold]] void* NoMemory() {
  errno = ENOMEM;
  return nullptr;
}

[[gnu::noinline]] void* MallocSlow(size_t size) {
  if (size > kMost) return NoMemory();
  void* p = AllocateSlow(size);
  PrepareBackground();
  return p != nullptr ? p : NoMemory();
}

[[gnu::noinline]] void FreeSlowly(void* p) {
  // Releasing never sets errno: the system is entered without libc.
  if (FreeSlow(p)) KeepBackground();
}

[[gnu::noinline]] void AttendSlowly(Span* span) {
  AttendSlow(span);
  KeepBackground();
}

[[gnu::always_inline]] inline void* Malloc(size_t size) {
  PLIMSOLL_LEAF_GUARD;
  if (void* p; current_cache->TryAllocate(size, &p)) [[likely]]
    return p;
  return MallocSlow(size);
}

[[gnu::always_inline]] inline void FreeIt(void* p) {
  PLIMSOLL_LEAF_GUARD;
  Span* span;
  const MCache::Freed freed = current_cache->TryFree(reinterpret_cast<uintptr_t>(p), &span);
  if (freed == MCache::Freed::kDone) [[likely]]
    return;
  if (freed == MCache::Freed::kAttention) return AttendSlowly(span);
  return FreeSlowly(p);
}

void* Calloc(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes) || bytes > kMost) return NoMemory();
  void* p = AllocateZeroed(bytes);
  PrepareBackground();
  return p != nullptr ? p : NoMemory();
}

void* Realloc(void* p, size_t size) {
  if (p == nullptr) return Malloc(size);
  if (size == 0) {
    FreeIt(p);
    return nullptr;
  }
  if (size > kMost) return NoMemory();
  void* to = Reallocate("realloc", p, size);
  if (to == nullptr) return NoMemory();
  PrepareBackground();
  KeepBackground();
  return to;
}

void* Aligned(size_t alignment, size_t size) {
  if (size > kMost || alignment > kMost) return NoMemory();
  void* p = alignment <= 16 ? Malloc(size) : AllocateAligned(alignment, size);
  PrepareBackground();
  return p != nullptr ? p : NoMemory();
}

// memalign takes any number and rounds it up, as glibc's does.
void* Memalign(size_t alignment, size_t size) {
  if (alignment > kMost / 2 + 1) {
    errno = EINVAL;
    return nullptr;
  }
  return Aligned(std::bit_ceil(alignment), size);
}

size_t MachinePage() { return 4096; }

void FreeWithShape(void* p, size_t alignment, size_t size) {
  const Shape shape = ShapeOf(std::has_single_bit(alignment) ? alignment : 1, size);
  FreeChecked("sized free", p, shape.size_class, shape.pages, size);
  KeepBackground();
}

// ---- operator new ----

// As the standard says: the new-handler gets a chance before each failure, and its exception is
// operator new's, or its failure where that may not throw.
[[gnu::noinline, gnu::cold]] void* NewSlow(size_t size, size_t alignment, bool may_fail) {
  for (;;) {
    void* p = Aligned(alignment, size);
    if (p != nullptr) return p;
    std::new_handler handler = plimsoll_get_new_handler ? plimsoll_get_new_handler() : nullptr;
    if (handler != nullptr && may_fail) {
      if (!CallNewHandler(handler)) return nullptr;
      continue;
    }
    if (handler != nullptr) {
      handler();
      continue;
    }
    if (may_fail) return nullptr;
    if (plimsoll_throw_bad_alloc) plimsoll_throw_bad_alloc();
    plimsoll::base::Fatal("operator new: no memory for ", plimsoll::base::Counted{size, "byte"});
  }
}

// The guard ends before NewSlow(): what that throws leaves this file, which has no exceptions, with
// no destructor run.
[[gnu::always_inline]] inline bool TryNew(size_t size, void** p) {
  PLIMSOLL_LEAF_GUARD;
  return current_cache->TryAllocate(size, p);
}
[[gnu::always_inline]] inline void* New(size_t size) {
  if (void* p; TryNew(size, &p)) [[likely]]
    return p;
  return NewSlow(size, 1, false);
}
[[gnu::always_inline]] inline void* NewNoThrow(size_t size) {
  if (void* p; TryNew(size, &p)) [[likely]]
    return p;
  return NewSlow(size, 1, true);
}

// Writes to a FILE; stdio is the caller's wish here.
void WriteToFile(std::string_view text, void* to) {
  fwrite(text.data(), 1, text.size(), static_cast<FILE*>(to));
}

}  // namespace

// ---- C ----

PLIMSOLL_EXPORT PLIMSOLL_LEAF void* malloc(size_t size) noexcept { return Malloc(size); }
PLIMSOLL_EXPORT PLIMSOLL_LEAF void free(void* p) noexcept { return FreeIt(p); }
PLIMSOLL_EXPORT void* calloc(size_t count, size_t size) noexcept { return Calloc(count, size); }
PLIMSOLL_EXPORT void* realloc(void* p, size_t size) noexcept { return Realloc(p, size); }
PLIMSOLL_EXPORT void* reallocarray(void* p, size_t count, size_t size) noexcept {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) return NoMemory();
  return Realloc(p, bytes);
}
PLIMSOLL_EXPORT void* memalign(size_t alignment, size_t size) noexcept {
  return Memalign(alignment, size);
}
PLIMSOLL_EXPORT int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  if (!std::has_single_bit(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  const int error = errno;
  void* p = Aligned(alignment, size);
  errno = error;  // posix_memalign tells by its value alone
  if (p == nullptr) return ENOMEM;
  *out = p;
  return 0;
}
PLIMSOLL_EXPORT void* aligned_alloc(size_t alignment, size_t size) noexcept {
  if (!std::has_single_bit(alignment)) {
    errno = EINVAL;
    return nullptr;
  }
  return Aligned(alignment, size);
}
PLIMSOLL_EXPORT void* valloc(size_t size) noexcept { return Aligned(MachinePage(), size); }
PLIMSOLL_EXPORT void* pvalloc(size_t size) noexcept {
  if (size > kMost - MachinePage()) return NoMemory();
  const size_t whole = (size + MachinePage() - 1) & ~(MachinePage() - 1);
  return Aligned(MachinePage(), whole == 0 ? MachinePage() : whole);
}
PLIMSOLL_EXPORT size_t malloc_usable_size(void* p) noexcept {
  return UsableSize("malloc_usable_size", p);
}
PLIMSOLL_EXPORT void cfree(void* p) noexcept { FreeIt(p); }
PLIMSOLL_EXPORT void free_sized(void* p, size_t size) noexcept {
  if (p != nullptr) FreeWithShape(p, 1, size);
}
PLIMSOLL_EXPORT void free_aligned_sized(void* p, size_t alignment, size_t size) noexcept {
  if (p != nullptr) FreeWithShape(p, alignment, size);
}

// For process_malloc.h, and for who asks whether this malloc was linked: bytes of memory it holds.
PLIMSOLL_EXPORT uint64_t plimsoll_malloc_resident() {
  const PageStats s = core.pages.Stats();
  return s.in_use + s.idle + s.metadata;
}

PLIMSOLL_EXPORT int malloc_trim(size_t) noexcept { return Heap::ReleaseAll().value() != 0; }
PLIMSOLL_EXPORT int mallopt(int, int) noexcept { return 1; }  // no parameter of glibc's applies

namespace {

struct Mallinfo2 {  // glibc's struct mallinfo2
  size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct Mallinfo {
  int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

int Clamped(uint64_t value) { return value > INT32_MAX ? INT32_MAX : static_cast<int>(value); }

}  // namespace

PLIMSOLL_EXPORT Mallinfo2 mallinfo2() noexcept {
  const HeapStats s = Heap::Stats();
  Mallinfo2 info{};
  info.arena = s.in_spans.value() + s.idle.value() - s.large.value();
  info.hblks = s.large_objects;
  info.hblkhd = s.large.value();
  info.uordblks = s.live.value() - s.large.value();
  info.fordblks = info.arena - info.uordblks;
  info.keepcost = s.idle.value();
  return info;
}
PLIMSOLL_EXPORT Mallinfo mallinfo() noexcept {
  const Mallinfo2 wide = mallinfo2();
  Mallinfo info{};
  info.arena = Clamped(wide.arena);
  info.hblks = Clamped(wide.hblks);
  info.hblkhd = Clamped(wide.hblkhd);
  info.uordblks = Clamped(wide.uordblks);
  info.fordblks = Clamped(wide.fordblks);
  info.keepcost = Clamped(wide.keepcost);
  return info;
}
PLIMSOLL_EXPORT int malloc_info(int options, FILE* to) noexcept {
  if (options != 0) return EINVAL;
  plimsoll::WriteJson(Heap::Stats(), &WriteToFile, to);
  return 0;
}
PLIMSOLL_EXPORT void malloc_stats() noexcept {
  int fd = 2;
  plimsoll::WriteJson(Heap::Stats(), &WriteToFd, &fd);
}

// What a static glibc's own parts call. They lack the attributes that glibc's headers give the
// others.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wmissing-attributes"
PLIMSOLL_EXPORT void* __libc_malloc(size_t size) noexcept __attribute__((alias("malloc")));
PLIMSOLL_EXPORT void __libc_free(void* p) noexcept __attribute__((alias("free")));
PLIMSOLL_EXPORT void* __libc_calloc(size_t count, size_t size) noexcept
    __attribute__((alias("calloc")));
PLIMSOLL_EXPORT void* __libc_realloc(void* p, size_t size) noexcept
    __attribute__((alias("realloc")));
PLIMSOLL_EXPORT void* __libc_memalign(size_t alignment, size_t size) noexcept
    __attribute__((alias("memalign")));
PLIMSOLL_EXPORT void* __libc_valloc(size_t size) noexcept __attribute__((alias("valloc")));
PLIMSOLL_EXPORT void* __libc_pvalloc(size_t size) noexcept __attribute__((alias("pvalloc")));
PLIMSOLL_EXPORT int __posix_memalign(void** out, size_t alignment, size_t size) noexcept
    __attribute__((alias("posix_memalign")));

#pragma GCC diagnostic pop

// ---- C++ ----

#define PLIMSOLL_NEW __attribute__((visibility("default"))) PLIMSOLL_LEAF
#define PLIMSOLL_NEW_COLD __attribute__((visibility("default")))

PLIMSOLL_NEW void* operator new(size_t size) { return New(size); }
PLIMSOLL_NEW void* operator new[](size_t size) { return New(size); }
PLIMSOLL_NEW void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return NewNoThrow(size);
}
PLIMSOLL_NEW void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  return NewNoThrow(size);
}
PLIMSOLL_NEW_COLD void* operator new(size_t size, std::align_val_t alignment) {
  return NewSlow(size, static_cast<size_t>(alignment), false);
}
PLIMSOLL_NEW_COLD void* operator new[](size_t size, std::align_val_t alignment) {
  return NewSlow(size, static_cast<size_t>(alignment), false);
}
PLIMSOLL_NEW_COLD void* operator new(size_t size, std::align_val_t alignment,
                                     const std::nothrow_t&) noexcept {
  return NewSlow(size, static_cast<size_t>(alignment), true);
}
PLIMSOLL_NEW_COLD void* operator new[](size_t size, std::align_val_t alignment,
                                       const std::nothrow_t&) noexcept {
  return NewSlow(size, static_cast<size_t>(alignment), true);
}

PLIMSOLL_NEW void operator delete(void* p) noexcept { return FreeIt(p); }
PLIMSOLL_NEW void operator delete[](void* p) noexcept { return FreeIt(p); }
PLIMSOLL_NEW void operator delete(void* p, const std::nothrow_t&) noexcept { return FreeIt(p); }
PLIMSOLL_NEW void operator delete[](void* p, const std::nothrow_t&) noexcept { return FreeIt(p); }

namespace {

// A sized delete checks the size that the compiler knew against the span's class.
[[gnu::always_inline]] inline void DeleteSized(void* p, size_t size) {
  PLIMSOLL_LEAF_GUARD;
  const Span* span = FindSpan(reinterpret_cast<uintptr_t>(p));
  if (span == nullptr || size > kMaxSmall || ClassOf(size) != span->class_index()) [[unlikely]] {
    if (p == nullptr) return;
    return FreeWithShape(p, 1, size);
  }
  return FreeIt(p);
}

}  // namespace

PLIMSOLL_NEW void operator delete(void* p, size_t size) noexcept { return DeleteSized(p, size); }
PLIMSOLL_NEW void operator delete[](void* p, size_t size) noexcept { return DeleteSized(p, size); }
PLIMSOLL_NEW void operator delete(void* p, std::align_val_t) noexcept { return FreeIt(p); }
PLIMSOLL_NEW void operator delete[](void* p, std::align_val_t) noexcept { return FreeIt(p); }
PLIMSOLL_NEW void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept {
  return FreeIt(p);
}
PLIMSOLL_NEW void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept {
  return FreeIt(p);
}
PLIMSOLL_NEW_COLD void operator delete(void* p, size_t size, std::align_val_t alignment) noexcept {
  if (p != nullptr) FreeWithShape(p, static_cast<size_t>(alignment), size);
}
PLIMSOLL_NEW_COLD void operator delete[](void* p, size_t size,
                                         std::align_val_t alignment) noexcept {
  if (p != nullptr) FreeWithShape(p, static_cast<size_t>(alignment), size);
}
