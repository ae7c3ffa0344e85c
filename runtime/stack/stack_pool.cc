#include "plimsoll/runtime/stack/stack_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <new>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  // Linux 6.13, include/uapi/asm-generic/mman-common.h
#endif

#include "plimsoll/alloc/base/check.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(leak_sanitizer)
#define PLIMSOLL_LSAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define PLIMSOLL_LSAN 1
#endif
#ifdef PLIMSOLL_LSAN
#include <sanitizer/lsan_interface.h>
#endif

namespace plimsoll::stack {
namespace {

// Sanitizers walk what is mapped: a slab is then a few stacks, and its guards must be real holes.
#ifdef PLIMSOLL_LSAN
constexpr size_t kSlabBytes = size_t{4} << 20;
constexpr bool kMayInstallGuards = false;
#else
constexpr size_t kSlabBytes = size_t{64} << 20;
constexpr bool kMayInstallGuards = true;
#endif

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

}  // namespace

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

bool StackPool::Allocate(ByteCount size, Stack* out) {
  if (size.value() > (uint64_t{1} << kMaxClassShift) - kGuardBytes) {
    errno = EINVAL;
    return false;
  }
  const uint64_t wanted = size.value() + kGuardBytes;
  // The default of 256 KiB names the slot: guard and stack together fill one power of two.
  const uint64_t slot_wanted =
      size.value() <= kDefaultStack.value() && std::has_single_bit(size.value()) ? size.value()
                                                                                 : wanted;
  const int shift = slot_wanted <= (uint64_t{1} << kMinClassShift)
                        ? kMinClassShift
                        : std::bit_width(slot_wanted - 1);
  const int size_class = shift - kMinClassShift;
  const size_t slot_bytes = SlotBytes(size_class);
  SizeClass& c = classes_[size_class];

  c.mu.lock();
  if (c.free != 0) {
    const uintptr_t hi = c.free;
    c.free = *reinterpret_cast<uintptr_t*>(hi - sizeof(uintptr_t));  // by (3)
    c.mu.unlock();
    *out = {hi - slot_bytes + kGuardBytes, hi, static_cast<uint8_t>(size_class), true};
    return true;
  }
  Slab* slab = c.current;
  if (slab == nullptr || slab->used.load(std::memory_order_relaxed) == slab->slots) {
    slab = NewSlab(size_class);
    if (slab == nullptr) {
      c.mu.unlock();
      errno = ENOMEM;
      return false;
    }
    c.current = slab;
  }
  // release: a fault handler that sees the count sees the slab's fields (FindGuard's acquire)
  const uint32_t index = slab->used.fetch_add(1, std::memory_order_release);
  const uintptr_t slot = slab->base + index * slot_bytes;
  c.mu.unlock();

  const bool guarded = MakeGuard(slot);
  *out = {slot + kGuardBytes, slot + slot_bytes, static_cast<uint8_t>(size_class), guarded};
  return true;
}

void StackPool::Free(const Stack& stack) {
  SizeClass& c = classes_[stack.size_class];
  base::SpinLockHolder hold(c.mu);
  *reinterpret_cast<uintptr_t*>(stack.hi - sizeof(uintptr_t)) = c.free;
  c.free = stack.hi;
}

void StackPool::Trim(const Stack& stack, uintptr_t sp) {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t end = sp & ~(page - 1);
  if (end > stack.lo) madvise(reinterpret_cast<void*>(stack.lo), end - stack.lo, MADV_DONTNEED);
}

StackPool::Slab* StackPool::NewSlabRecord() {
  base::SpinLockHolder hold(records_mu_);
  if (records_left_ == 0) {
    constexpr size_t kChunk = 64 << 10;
    void* chunk = mmap(nullptr, kChunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED) return nullptr;
    records_ = static_cast<char*>(chunk);
    records_left_ = kChunk / sizeof(Slab);
  }
  Slab* record = ::new (records_) Slab{};
  records_ += sizeof(Slab);
  --records_left_;
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

bool StackPool::MakeGuard(uintptr_t slot) {
  void* at = reinterpret_cast<void*>(slot);
  GuardKind kind = guard_kind_.load(std::memory_order_relaxed);
  if (kMayInstallGuards && kind != GuardKind::kProtect && kind != GuardKind::kNone) {
    if (madvise(at, kGuardBytes, MADV_GUARD_INSTALL) == 0) {
      if (kind == GuardKind::kUnknown) {
        guard_kind_.store(GuardKind::kInstall, std::memory_order_relaxed);
      }
      return true;
    }
    // EINVAL: a kernel before 6.13, or locked memory (mlockall). Either way mprotect comes next.
  }
  // A protected guard splits a mapping in two; half of the process's maps are left to the others.
  if (protect_guards_.load(std::memory_order_relaxed) < MaxMapCount() / 4 &&
      mprotect(at, kGuardBytes, PROT_NONE) == 0) {
    protect_guards_.fetch_add(1, std::memory_order_relaxed);
    if (kind == GuardKind::kUnknown) {
      guard_kind_.store(GuardKind::kProtect, std::memory_order_relaxed);
    }
#ifdef PLIMSOLL_LSAN
    // Pointers that live on a parked goroutine's stack only are no leaks.
    Stack slot_range;
    if (FindGuard(slot, &slot_range)) {
      __lsan_register_root_region(reinterpret_cast<void*>(slot_range.lo),
                                  slot_range.hi - slot_range.lo);
    }
#endif
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
      fn(Stack{slot + kGuardBytes, slot + slot_bytes, s->size_class, true}, arg);
    }
  }
}

bool StackPool::FindGuard(uintptr_t addr, Stack* out) const {
  for (Slab* s = slabs_.load(std::memory_order_acquire); s != nullptr; s = s->next) {
    const size_t slot_bytes = SlotBytes(s->size_class);
    if (addr < s->base || addr >= s->base + slot_bytes * s->slots) continue;
    const uintptr_t slot = s->base + (addr - s->base) / slot_bytes * slot_bytes;
    *out = {slot + kGuardBytes, slot + slot_bytes, s->size_class, true};
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
  return stats;
}

}  // namespace plimsoll::stack
