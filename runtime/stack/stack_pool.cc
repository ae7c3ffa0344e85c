#include "plimsoll/runtime/stack/stack_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <bit>
#include <new>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  // Linux 6.13, include/uapi/asm-generic/mman-common.h
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/alloc/base/sanitizer.h"

namespace plimsoll::stack {
namespace {

constexpr size_t kSlabBytes = size_t{64} << 20;
// LeakSanitizer reads what /proc/self/maps calls readable: a guard must be a hole there.
constexpr bool kMayInstallGuards = !base::kAsan;

constexpr size_t SlotBytes(int size_class) { return size_t{1} << (size_class + kMinClassShift); }

// vm.max_map_count, or the kernel's default where it cannot be read.
uint64_t MaxMapCount() {
  static std::atomic<uint64_t> cached{0};
  uint64_t value = cached.load(std::memory_order_relaxed);
  if (value != 0) return value;
  value = 65530;
  const int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    char text[32];
    const ssize_t n = read(fd, text, sizeof(text));
    close(fd);
    uint64_t parsed = 0;
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; ++i) {
      parsed = parsed * 10 + static_cast<uint64_t>(text[i] - '0');
    }
    if (parsed != 0) value = parsed;
  }
  cached.store(value, std::memory_order_relaxed);
  return value;
}

long Advise(uintptr_t at, size_t bytes, int advice) {
  return base::RawSyscall(SYS_madvise, at, bytes, advice);
}

long AdviseAll(uintptr_t at, size_t bytes, size_t stride, int n, int advice) {
  constexpr int kMost = 64;
  iovec ranges[kMost];
  // Of ourselves, process_madvise takes every advice since Linux 6.13; Docker's default seccomp
  // profile refuses it (EPERM) without CAP_SYS_PTRACE.
  const long self = base::RawSyscall(SYS_pidfd_open, getpid(), 0);
  if (self < 0) return self;
  long rc = 0;
  for (int done = 0; done < n && rc >= 0; done += kMost) {
    const int count = n - done < kMost ? n - done : kMost;
    for (int i = 0; i < count; ++i) {
      ranges[i].iov_base = reinterpret_cast<void*>(at + static_cast<size_t>(done + i) * stride);
      ranges[i].iov_len = bytes;
    }
    rc = base::RawSyscall(SYS_process_madvise, self, ranges, count, advice, 0);
    // A range that is refused ends the call, with what was done before it.
    if (rc >= 0 && static_cast<size_t>(rc) != bytes * static_cast<size_t>(count)) rc = -EINVAL;
  }
  base::RawSyscall(SYS_close, self);
  return rc < 0 ? rc : 0;
}

// Pointers that live on a parked goroutine's stack only are no leaks: a slab is one root region, up
// to the last slot that was handed out. Not one for each stack: GCC's LeakSanitizer reads all of
// /proc/self/maps for each region, in which each guard is two lines.
void GrowLeakRoots(uintptr_t slab, size_t before, size_t after) {
  base::RegisterLeakRoots(reinterpret_cast<void*>(slab), after);
  if (before != 0) base::UnregisterLeakRoots(reinterpret_cast<void*>(slab), before);
}

long ProtectNone(uintptr_t at, size_t bytes) {
  return base::RawSyscall(SYS_mprotect, at, bytes, PROT_NONE);
}

// At the lower end of an unguarded stack: nobody writes this by accident.
constexpr uint64_t kCanary = 0x9b1e55edc0ffee13u;
constexpr int kCanaryWords = 8;

void WriteCanary(const Stack& stack) {
  auto* words = reinterpret_cast<volatile uint64_t*>(stack.lo);
  for (int i = 0; i < kCanaryWords; ++i) words[i] = kCanary;
}

// Valgrind knows a stack by what it is told; elsewhere these are six instructions that do nothing.
// Source: valgrind's manual, "The Client Request mechanism"; VG_USERREQ__STACK_REGISTER.
void TellValgrind([[maybe_unused]] uintptr_t lo, [[maybe_unused]] uintptr_t hi) {
#if defined(__x86_64__)
  volatile uintptr_t request[6] = {0x1501, lo, hi - 1, 0, 0, 0};
  uintptr_t result = 0;
  asm volatile(
      "rolq $3, %%rdi; rolq $13, %%rdi\n\t"
      "rolq $61, %%rdi; rolq $51, %%rdi\n\t"
      "xchgq %%rbx, %%rbx"
      : "+d"(result)
      : "a"(&request[0])
      : "cc", "memory");
#endif
}

}  // namespace

constinit const StackCalls kKernelStackCalls = {Advise, AdviseAll, ProtectNone, MaxMapCount};

std::string_view GuardKindText(GuardKind kind) {
  switch (kind) {
    case GuardKind::kUnknown:
      return "not tried yet";
    case GuardKind::kInstall:
      return "MADV_GUARD_INSTALL";
    case GuardKind::kProtect:
      return "mprotect";
    case GuardKind::kNone:
      return "none";
  }
  return "?";
}

Stack StackPool::StackAt(const Slab* slab, uint32_t index) const {
  const size_t slot_bytes = SlotBytes(slab->size_class);
  const uintptr_t slot = slab->base + index * slot_bytes;
  const bool unguarded =
      (slab->unguarded[index / 64].load(std::memory_order_relaxed) >> (index % 64) & 1) != 0;
  return {slot + kGuardBytes, slot + slot_bytes, slab->size_class, !unguarded, slab->number};
}

bool StackPool::Allocate(ByteCount size, Stack* out) { return AllocateBatch(size, out, 1) == 1; }

int StackPool::AllocateBatch(ByteCount size, Stack* out, int n) {
  if (size.value() > (uint64_t{1} << kMaxClassShift) - kGuardBytes) {
    errno = EINVAL;
    return 0;
  }
  const uint64_t wanted = size.value() + kGuardBytes;
  // The default of 256 KiB names the slot: guard and stack together fill one power of two.
  const uint64_t slot_wanted =
      size.value() <= kDefaultStack.value() && std::has_single_bit(size.value()) ? size.value()
                                                                                 : wanted;
  const int shift = slot_wanted <= (uint64_t{1} << kMinClassShift)
                        ? kMinClassShift
                        : static_cast<int>(std::bit_width(slot_wanted - 1));
  const int size_class = shift - kMinClassShift;
  const size_t slot_bytes = SlotBytes(size_class);
  SizeClass& c = classes_[size_class];

  int have = 0;
  Slab* fresh = nullptr;
  uint32_t first = 0;
  c.mu.lock();
  while (have < n && c.free != 0) {
    const uintptr_t hi = c.free;
    c.free = *reinterpret_cast<uintptr_t*>(hi - sizeof(uintptr_t));  // by (3)
    const auto number = static_cast<uint32_t>(*reinterpret_cast<uintptr_t*>(hi - 16));
    out[have++] = {hi - slot_bytes + kGuardBytes, hi, static_cast<uint8_t>(size_class), true,
                   number};
  }
  const int warm = have;
  while (have < n && c.released > 0) {
    Slab* slab;
    const int index = TakeReleased(c, size_class, &slab);
    out[have++] = StackAt(slab, static_cast<uint32_t>(index));
  }
  const int used_before = have;
  if (have < n) {
    fresh = c.current;
    if (fresh == nullptr || fresh->used.load(std::memory_order_relaxed) == fresh->slots) {
      // What there is already will do: a new slab is for who has nothing.
      fresh = have > 0 ? nullptr : NewSlab(size_class);
      if (fresh != nullptr) c.current = fresh;
    }
    if (fresh != nullptr) {
      const uint32_t used = fresh->used.load(std::memory_order_relaxed);
      const uint32_t left = fresh->slots - used;
      const uint32_t take =
          static_cast<uint32_t>(n - have) < left ? static_cast<uint32_t>(n - have) : left;
      first = used;
      // release: a fault handler that sees the count sees the slab's fields (FindGuard's acquire)
      fresh->used.store(used + take, std::memory_order_release);
      GrowLeakRoots(fresh->base, used * slot_bytes, (used + take) * slot_bytes);
      have += static_cast<int>(take);
    }
  }
  c.mu.unlock();
  if (have == 0) {
    errno = ENOMEM;
    return 0;
  }
  for (int i = 0; i < warm; ++i) {
    if (has_unguarded()) {
      const Slab* slab = RecordAt(out[i].slab);
      out[i] = StackAt(slab, static_cast<uint32_t>((out[i].lo - slab->base) / slot_bytes));
    }
  }
  const int made = have - used_before;
  if (made > 0) {
    MakeGuards(fresh, first, made);
    for (int i = 0; i < made; ++i) {
      out[used_before + i] = StackAt(fresh, first + static_cast<uint32_t>(i));
      TellValgrind(out[used_before + i].lo, out[used_before + i].hi);
    }
    // A page fault costs 1.6 us, most of it the way into the kernel and back. Refused, the pages
    // come one by one, as they are touched.
    if (made > 1) {
      constexpr size_t kTop = 4096;
      (void)calls_->advise_all(out[used_before].hi - kTop, kTop, slot_bytes, made,
                               MADV_POPULATE_WRITE);
    }
  }
  return have;
}

int StackPool::TakeReleased(SizeClass& c, int size_class, Slab** out) {
  Slab* slab = c.release_hint;
  if (slab == nullptr || slab->released_count == 0) {
    slab = slabs_.load(std::memory_order_acquire);
    while (slab->size_class != size_class || slab->released_count == 0) slab = slab->next;
    c.release_hint = slab;
  }
  for (int word = 0; word < kMaxSlots / 64; ++word) {
    uint64_t& bits = slab->released[word];
    if (bits == 0) continue;
    const int bit = std::countr_zero(bits);
    bits &= bits - 1;
    --slab->released_count;
    --c.released;
    *out = slab;
    return word * 64 + bit;
  }
  PLIMSOLL_CHECK(false, "a slab counts released stacks that it has not");
}

void StackPool::Free(const Stack& stack) {
  SizeClass& c = classes_[stack.size_class];
  base::SpinLockHolder hold(c.mu);
  *reinterpret_cast<uintptr_t*>(stack.hi - sizeof(uintptr_t)) = c.free;  // by (3)
  *reinterpret_cast<uintptr_t*>(stack.hi - 2 * sizeof(uintptr_t)) = stack.slab;
  c.free = stack.hi;
}

void StackPool::Release(const Stack& stack) {
  (void)calls_->advise(stack.lo, stack.hi - stack.lo, MADV_DONTNEED);
  if (!stack.guarded) WriteCanary(stack);
  Slab* slab = RecordAt(stack.slab);
  const size_t index = (stack.lo - slab->base) / SlotBytes(slab->size_class);
  SizeClass& c = classes_[stack.size_class];
  base::SpinLockHolder hold(c.mu);
  slab->released[index / 64] |= uint64_t{1} << (index % 64);
  ++slab->released_count;
  ++c.released;
}

bool StackPool::CanaryIntact(const Stack& stack) const {
  if (stack.guarded) return true;
  const auto* words = reinterpret_cast<const volatile uint64_t*>(stack.lo);
  for (int i = 0; i < kCanaryWords; ++i) {
    if (words[i] != kCanary) return false;
  }
  return true;
}

StackPool::Slab* StackPool::RecordAt(uint32_t number) const {
  constexpr uint32_t kEach = kRecordBytes / sizeof(Slab);
  return chunks_[number / kEach].load(std::memory_order_acquire) + number % kEach;
}

void StackPool::TrimRange(const Stack& stack, uintptr_t sp, uintptr_t* lo, uintptr_t* hi) {
  // What a leaf function may use below its stack pointer (System V ABI for x86-64, 3.2.2). One that
  // parked is in no leaf; a page more is not worth the thought.
  constexpr uintptr_t kRedZone = 128;
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  *lo = stack.guarded ? stack.lo : stack.lo + page;  // the canary's page
  *hi = sp < stack.lo + kRedZone || sp > stack.hi ? *lo : (sp - kRedZone) & ~(page - 1);
  if (*hi < *lo) *hi = *lo;
}

long StackPool::Trim(const Stack& stack, uintptr_t from, uintptr_t sp, size_t most) const {
  uintptr_t lo, hi;
  TrimRange(stack, sp, &lo, &hi);
  if (from > lo) lo = from;
  if (lo >= hi) return 0;
  if (hi - lo > most) hi = lo + most;
  const long rc = calls_->advise(lo, hi - lo, MADV_DONTNEED);
  return rc < 0 ? rc : static_cast<long>(hi - lo);
}

int StackPool::NextSlots(Walk& walk, Stack* out, int n) const {
  if (!walk.begun_) {
    walk.begun_ = true;
    walk.slab_ = slabs_.load(std::memory_order_acquire);
  }
  while (const auto* slab = static_cast<const Slab*>(walk.slab_)) {
    // acquire: pairs with the release in AllocateBatch
    const uint32_t left = slab->used.load(std::memory_order_acquire) - walk.next_;
    if (left == 0) {
      walk.slab_ = slab->next;
      walk.next_ = 0;
      continue;
    }
    const int count = left < static_cast<uint32_t>(n) ? static_cast<int>(left) : n;
    for (int i = 0; i < count; ++i) out[i] = StackAt(slab, walk.next_++);
    return count;
  }
  return 0;
}

StackPool::Slab* StackPool::NewSlabRecord() {
  constexpr uint32_t kEach = kRecordBytes / sizeof(Slab);
  base::SpinLockHolder hold(records_mu_);
  const uint32_t chunk = records_ / kEach;
  if (chunk == kChunks) return nullptr;
  if (records_ % kEach == 0 && chunks_[chunk].load(std::memory_order_relaxed) == nullptr) {
    void* memory =
        mmap(nullptr, kRecordBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    // release: pairs with the acquire in RecordAt
    chunks_[chunk].store(static_cast<Slab*>(memory), std::memory_order_release);
  }
  Slab* record = ::new (RecordAt(records_)) Slab{};
  record->number = records_++;
  return record;
}

StackPool::Slab* StackPool::NewSlab(int size_class) {
  const size_t slot = SlotBytes(size_class);
  const size_t bytes = slot > kSlabBytes ? slot : kSlabBytes;
  Slab* slab = NewSlabRecord();
  if (slab == nullptr) return nullptr;
  // One slot more than needed, so that slots lie at multiples of their size (at most 2 MiB asked
  // for): then the page tables of a stack are its own or shared with its neighbour's top only.
  const size_t align = slot < (size_t{2} << 20) ? slot : (size_t{2} << 20);
  void* raw = mmap(nullptr, bytes + align, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const uintptr_t start = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t base = (start + align - 1) & ~(align - 1);
  if (base > start) munmap(raw, base - start);
  const uintptr_t tail = start + align - base;
  if (tail > 0) munmap(reinterpret_cast<void*>(base + bytes), tail);
  // A huge page under a stack would make each goroutine cost 2 MiB. Refusal only costs memory.
  madvise(reinterpret_cast<void*>(base), bytes, MADV_NOHUGEPAGE);
  slab->base = base;
  slab->slots = static_cast<uint32_t>(bytes / slot);
  slab->size_class = static_cast<uint8_t>(size_class);
  Slab* head = slabs_.load(std::memory_order_relaxed);
  do {
    slab->next = head;
    // release: pairs with the acquire of ForEachSlot, FindGuard and stats
  } while (!slabs_.compare_exchange_weak(head, slab, std::memory_order_release,
                                         std::memory_order_relaxed));
  return slab;
}

void StackPool::MakeGuards(Slab* slab, uint32_t first, int n) {
  const size_t slot_bytes = SlotBytes(slab->size_class);
  const uintptr_t slot = slab->base + first * slot_bytes;
  const GuardKind kind = guard_kind();
  if (kMayInstallGuards && n > 1 && kind == GuardKind::kInstall &&
      calls_->advise_all(slot, kGuardBytes, slot_bytes, n, MADV_GUARD_INSTALL) == 0) {
    return;
  }
  // Again where some were made: that changes nothing.
  for (uint32_t i = first; i < first + static_cast<uint32_t>(n); ++i) {
    if (MakeGuard(slab->base + i * slot_bytes)) continue;
    slab->unguarded[i / 64].fetch_or(uint64_t{1} << (i % 64), std::memory_order_relaxed);
    WriteCanary(StackAt(slab, i));
  }
}

bool StackPool::MakeGuard(uintptr_t slot) {
  GuardKind kind = guard_kind_.load(std::memory_order_relaxed);
  if (kMayInstallGuards && kind != GuardKind::kProtect && kind != GuardKind::kNone) {
    if (calls_->advise(slot, kGuardBytes, MADV_GUARD_INSTALL) == 0) {
      if (kind == GuardKind::kUnknown) {
        guard_kind_.store(GuardKind::kInstall, std::memory_order_relaxed);
      }
      return true;
    }
    // EINVAL: a kernel before 6.13, or locked memory (mlockall). Either way mprotect comes next.
  }
  // A protected guard splits a mapping in two; half of the process's maps are left to the others.
  if (protect_guards_.load(std::memory_order_relaxed) < calls_->max_map_count() / 4 &&
      calls_->protect_none(slot, kGuardBytes) == 0) {
    protect_guards_.fetch_add(1, std::memory_order_relaxed);
    if (kind == GuardKind::kUnknown) {
      guard_kind_.store(GuardKind::kProtect, std::memory_order_relaxed);
    }
    return true;
  }
  unguarded_.fetch_add(1, std::memory_order_relaxed);
  if (kind == GuardKind::kUnknown) guard_kind_.store(GuardKind::kNone, std::memory_order_relaxed);
  return false;
}

void StackPool::ForEachSlot(void (*fn)(const Stack&, void*), void* arg) {
  // acquire: pairs with the release in NewSlab
  for (Slab* s = slabs_.load(std::memory_order_acquire); s != nullptr; s = s->next) {
    const size_t slot_bytes = SlotBytes(s->size_class);
    const uint32_t used = s->used.load(std::memory_order_acquire);
    for (uint32_t i = 0; i < used; ++i) {
      const uintptr_t slot = s->base + i * slot_bytes;
      fn(Stack{slot + kGuardBytes, slot + slot_bytes, s->size_class, true, s->number}, arg);
    }
  }
}

bool StackPool::FindGuard(uintptr_t addr, Stack* out) const {
  for (Slab* s = slabs_.load(std::memory_order_acquire); s != nullptr; s = s->next) {
    const size_t slot_bytes = SlotBytes(s->size_class);
    if (addr < s->base || addr >= s->base + slot_bytes * s->slots) continue;
    const uintptr_t slot = s->base + (addr - s->base) / slot_bytes * slot_bytes;
    *out = {slot + kGuardBytes, slot + slot_bytes, s->size_class, true, s->number};
    return addr < out->lo;
  }
  return false;
}

StackStats StackPool::stats() const {
  StackStats stats;
  for (Slab* s = slabs_.load(std::memory_order_acquire); s != nullptr; s = s->next) {
    ++stats.slabs;
    stats.slots_made += s->used.load(std::memory_order_relaxed);
    stats.reserved += ByteCount(SlotBytes(s->size_class) * s->slots);
  }
  stats.unguarded = unguarded_.load(std::memory_order_relaxed);
  for (const SizeClass& c : classes_) {
    base::SpinLockHolder hold(const_cast<SizeClass&>(c).mu);
    stats.released += c.released;
  }
  return stats;
}

}  // namespace plimsoll::stack
