#include "plimsoll/alloc/span.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/misuse.h"

namespace plimsoll::alloc {

void Notify(Span* span, Span::Remote& remote) {
  Mailbox* box = nullptr;
  do {
    // seq_cst: pairs with Unnotify().
    if (remote.notified.load(std::memory_order_seq_cst) != 0) return;
    if (remote.notified.exchange(1, std::memory_order_seq_cst) != 0) return;
    box = span->owner.load(std::memory_order_seq_cst);
    if (box != nullptr) break;
    // Freed meanwhile, by (5): there is nothing to tell. But another may have found the flag set
    // and relied on us, if the span has been made anew since: then it has an owner again.
    remote.notified.store(0, std::memory_order_seq_cst);
  } while (span->owner.load(std::memory_order_seq_cst) != nullptr);
  if (box == nullptr) return;
  Span* first = box->first.load(std::memory_order_relaxed);
  do {
    remote.notify_next.store(first, std::memory_order_relaxed);
    // release: pairs with TakeMail()
  } while (!box->first.compare_exchange_weak(first, span, std::memory_order_release,
                                             std::memory_order_relaxed));
}

Span* TakeMail(Mailbox& box) {
  if (box.first.load(std::memory_order_relaxed) == nullptr) return nullptr;
  return box.first.exchange(nullptr, std::memory_order_acquire);  // pairs with Notify()
}

size_t ApplyRemote(Span* span) {
  size_t freed = 0;
  Span::Remote& remote = span->remote();
  for (size_t w = 0; w < span->words; ++w) {
    // seq_cst: pairs with Notify(), as the flag does.
    if (remote.bits[w].load(std::memory_order_seq_cst) == 0) continue;
    const uint64_t bits = remote.bits[w].exchange(0, std::memory_order_seq_cst);
    const uint64_t alloc = span->alloc[w].load(std::memory_order_relaxed);
    if ((bits & ~alloc) != 0) {  // by (2)
      const size_t object = w * 64 + std::countr_zero(bits & ~alloc);
      ReportDoubleFree("free", reinterpret_cast<void*>(span->base() + object * span->klass().size),
                       span);
    }
    span->alloc[w].store(alloc & ~bits, std::memory_order_relaxed);
    freed += std::popcount(bits);
  }
  return freed;
}

void Span::CheckInvariants() {
  if (class_index() == 0) return;
  size_t live = 0;
  for (size_t w = 0; w < words; ++w) {
    const uint64_t bits = alloc[w].load(std::memory_order_relaxed);
    PLIMSOLL_CHECK((bits & ~ObjectMask(w)) == 0);                                     // (3)
    PLIMSOLL_CHECK((remote().bits[w].load(std::memory_order_relaxed) & ~bits) == 0);  // (2)
    live += std::popcount(bits);
  }
  if (state == SpanState::kPartial) PLIMSOLL_CHECK(countdown == live, countdown, " ", live);  // (4)
  if (state == SpanState::kFull) {
    PLIMSOLL_CHECK(klass().objects - live + countdown == WorthHaving(klass()));  // (4)
  }
}

}  // namespace plimsoll::alloc
