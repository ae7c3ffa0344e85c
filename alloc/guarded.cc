#include "plimsoll/alloc/guarded.h"

#include <signal.h>
#include <sys/syscall.h>

#include <atomic>
#include <cstring>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/misuse.h"

namespace plimsoll::alloc {
namespace {

constexpr unsigned char kPattern = 0xc5;

// The pool that the handler asks; there is one heap in a process.
constinit std::atomic<const GuardedPool*> asked{nullptr};
struct sigaction before;

void Reset(int signal) {
  struct sigaction plain = {};
  plain.sa_handler = SIG_DFL;
  sigaction(signal, &plain, nullptr);
}

void OnFault(int signal, siginfo_t* info, void* context) {
  // One that somebody sent is no fault, and has no address.
  const bool sent = info->si_code <= 0;
  const GuardedPool* pool = asked.load(std::memory_order_acquire);  // pairs with Make()
  if (!sent && pool != nullptr && pool->TellFault(reinterpret_cast<uintptr_t>(info->si_addr))) {
    base::Fatal("heap: a guarded object was misused: see above");
  }
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    // The program's own: its mask and flags are this handler's, so the kernel has heeded them.
    if ((before.sa_flags & SA_RESETHAND) != 0) Reset(signal);
    if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(signal, info, context);
    return before.sa_handler(signal);
  }
  if (sent && before.sa_handler == SIG_IGN) return;
  // A fault comes again, and has the effect that it would have had; one that was sent must be sent
  // again. It waits for the end of this handler, where the signal is blocked.
  sigaction(signal, &before, nullptr);
  if (sent) {
    base::RawSyscall(SYS_rt_tgsigqueueinfo, base::RawSyscall(SYS_getpid),
                     base::RawSyscall(SYS_gettid), signal, info);
  }
}

// The first address from `at` on, below `end`, whose byte is not kPattern; `end`: there is none.
uintptr_t SkipPattern(uintptr_t at, uintptr_t end) {
  constexpr uint64_t kWord = 0x0101010101010101u * kPattern;
  for (; at + 8 <= end; at += 8) {
    uint64_t word;
    std::memcpy(&word, reinterpret_cast<const void*>(at), 8);
    if (word != kWord) break;
  }
  while (at < end && *reinterpret_cast<const unsigned char*>(at) == kPattern) ++at;
  return at;
}

bool Protect(uintptr_t page, bool open) {
  return open ? MmapPages::Open(reinterpret_cast<void*>(page), ByteCount(kPageSize))
              : MmapPages::Guard(reinterpret_cast<void*>(page), ByteCount(kPageSize));
}

}  // namespace

bool GuardedPool::Make(MHeap<MmapPages>& pages) {
  Span* all = pages.NewLarge((2 * kSlots + 1) * kPageSize, kPageSize);
  if (all == nullptr) return false;
  base_ = all->base();
  if (!MmapPages::Guard(reinterpret_cast<void*>(base_), ByteCount(all->bytes()))) {
    base_ = 0;
    pages.FreeSpan(all);
    return false;
  }
  // Guard pages belong to nobody: a pointer into one is a wild pointer.
  SetSpan(base_, all->pages, nullptr);
  for (size_t i = 0; i < kSlots; ++i) {
    Span* span = pages.NewGuarded(PageOfSlot(i), 1);
    if (span == nullptr) break;  // the pool is smaller, then
    slots_[i].span = span;
    queue_[free_++] = static_cast<uint32_t>(i);
  }
  asked.store(this, std::memory_order_release);  // pairs with the acquire in OnFault()
  sigaction(SIGSEGV, nullptr, &before);
  struct sigaction action = {};
  action.sa_sigaction = &OnFault;
  if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  } else {
    // As the program wants its handler called, except that this one stays until it has seen that
    // the fault is not its own.
    action.sa_flags = (before.sa_flags & ~static_cast<int>(SA_RESETHAND)) | SA_SIGINFO;
    action.sa_mask = before.sa_mask;
  }
  sigaction(SIGSEGV, &action, nullptr);
  return true;
}

void* GuardedPool::Allocate(MHeap<MmapPages>& pages, size_t size, size_t alignment,
                            size_t size_class) {
  if (size > kPageSize || alignment > kPageSize) return nullptr;
  if (alignment < 16) alignment = 16;
  StackTrace here;
  here.Capture();
  size_t index;
  bool against_end;
  {
    base::SpinLockHolder hold(mu_);
    if (base_ == 0) {
      if (failed_ || !Make(pages)) {
        failed_ = true;
        return nullptr;
      }
    }
    if (free_ == 0) return nullptr;
    index = queue_[first_];
    first_ = (first_ + 1) % kSlots;
    --free_;
    against_end = ++turns_ % 4 != 0;
  }
  // The slot is ours: in no queue, and nobody has its address.
  const uintptr_t page = PageOfSlot(index);
  if (!Protect(page, true)) {
    base::SpinLockHolder hold(mu_);
    queue_[(first_ + free_++) % kSlots] = static_cast<uint32_t>(index);
    return nullptr;
  }
  const uintptr_t at =
      against_end ? (page + kPageSize - (size == 0 ? 1 : size)) & ~(alignment - 1) : page;
  base::Unpoison(reinterpret_cast<void*>(page), kPageSize);  // what was freed here last is poisoned
  std::memset(reinterpret_cast<void*>(page), kPattern, kPageSize);
  base::SpinLockHolder hold(mu_);
  Slot& slot = slots_[index];
  slot.sample = Sample();
  slot.sample.address = at;
  slot.sample.size = size;
  slot.sample.size_class = static_cast<uint8_t>(size_class);
  slot.sample.allocated = here;
  slot.state = State::kLive;
  return reinterpret_cast<void*>(at);
}

const Sample& GuardedPool::Find(const char* call, const void* p, const Span* span) {
  const size_t index = IndexOf(span);
  Slot copy;
  {
    base::SpinLockHolder hold(mu_);
    copy = slots_[index];
  }
  const auto address = reinterpret_cast<uintptr_t>(p);
  if (copy.state == State::kNever ||
      (copy.state == State::kLive && address != copy.sample.address)) {
    if (copy.state == State::kLive) TellSample(copy.sample);
    base::Fatal(call, ": ", copy.state == State::kLive ? "interior" : "wild", " pointer ",
                base::Hex(p), ": in the page of a guarded object");
  }
  if (copy.state == State::kFreed) {
    TellSample(copy.sample);
    base::Fatal(call, ": double free of ", base::Hex(p), ": a guarded object of ",
                base::Counted{copy.sample.size, "byte"});
  }
  return slots_[index].sample;
}

void GuardedPool::Free(const char* call, void* p, Span* span) {
  const Sample& sample = Find(call, p, span);
  const uintptr_t page = span->base();
  // What lies in the page and is not the object must be as it was.
  const uintptr_t end = page + kPageSize;
  uintptr_t at = SkipPattern(page, sample.address);
  if (at == sample.address) at = SkipPattern(sample.address + sample.size, end);
  if (at != end) {
    TellSample(sample);
    base::Fatal(call, ": ", base::Hex(p), ": a byte was written ",
                at < sample.address ? sample.address - at : at - sample.address - sample.size,
                at < sample.address ? " before its start" : " past its end");
  }
  StackTrace here;
  here.Capture();
  Protect(page, false);
  (void)MmapPages::Release(reinterpret_cast<void*>(page), ByteCount(kPageSize));
  base::SpinLockHolder hold(mu_);
  const size_t index = IndexOf(span);
  slots_[index].sample.freed = here;
  slots_[index].state = State::kFreed;
  queue_[(first_ + free_++) % kSlots] = static_cast<uint32_t>(index);
}

bool GuardedPool::TellFault(uintptr_t address) const {
  if (base_ == 0 || address < base_ || address >= base_ + (2 * kSlots + 1) * kPageSize)
    return false;
  // Without the lock: the holder may be the one that faulted. The process ends here.
  const size_t page = (address - base_) / kPageSize;
  const Slot* slot = nullptr;
  if (page % 2 == 1) {
    slot = &slots_[page / 2];
  } else {
    // A guard page: past the end of the slot before it or before the start of the one behind it,
    // whichever object is nearer.
    const Slot* left = page > 0 ? &slots_[page / 2 - 1] : nullptr;
    const Slot* right = page / 2 < kSlots ? &slots_[page / 2] : nullptr;
    if (left != nullptr && left->state == State::kNever) left = nullptr;
    if (right != nullptr && right->state == State::kNever) right = nullptr;
    const auto away = [address](const Slot* s) {
      return address < s->sample.address ? s->sample.address - address
                                         : address - s->sample.address - s->sample.size;
    };
    slot = left == nullptr ? right : right == nullptr || away(left) <= away(right) ? left : right;
  }
  if (slot == nullptr || slot->state == State::kNever) {
    base::RawLog("heap: fault at ", base::Hex(address), ": in the guarded pool, near no object");
    return true;
  }
  const Sample& s = slot->sample;
  if (address >= s.address && address < s.address + s.size) {
    base::RawLog("heap: use after free: ", base::Hex(address), " is ", address - s.address,
                 " bytes into an object");
  } else if (address >= s.address) {
    base::RawLog("heap: overflow: ", base::Hex(address), " is ", address - s.address - s.size,
                 " bytes past the end of an object",
                 slot->state == State::kFreed ? " that was freed" : "");
  } else {
    base::RawLog("heap: underflow: ", base::Hex(address), " is ", s.address - address,
                 " bytes before the start of an object",
                 slot->state == State::kFreed ? " that was freed" : "");
  }
  TellSample(s);
  return true;
}

}  // namespace plimsoll::alloc
