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
    box = span->Owner();
    if (box != nullptr) break;
    // Freed meanwhile, by (5): there is nothing to tell. But another may have found the flag set
    // and relied on us, if the span has been made anew since: then it has an owner again.
    remote.notified.store(0, std::memory_order_seq_cst);
  } while (span->Owner() != nullptr);
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
    const uint64_t in_use = span->InUse(w);
    const uint64_t twice = bits & ~in_use;
    if (twice != 0) {  // by (2)
      const size_t object = w * 64 + std::countr_zero(twice);
      ReportDoubleFree("free", reinterpret_cast<void*>(span->base() + object * span->object_size),
                       span);
    }
    span->SetInUse(w, in_use & ~bits);
    freed += std::popcount(bits);
  }
  span->live -= static_cast<uint32_t>(freed);
  return freed;
}

void Span::CheckInvariants(size_t taken) {
  if (class_index() == 0) return;
  for (size_t w = 0; w < words; ++w) {
    const uint64_t in_use = InUse(w);
    PLIMSOLL_CHECK((remote().bits[w].load(std::memory_order_relaxed) & ~in_use) == 0);  // (2)
    PLIMSOLL_CHECK((in_use & ~ObjectMask(w)) == 0);                                     // (3)
  }
  const size_t in_use = CountInUse();
  PLIMSOLL_CHECK(live == in_use + taken);  // (1)
  PLIMSOLL_CHECK(state == SpanState::kCurrent || taken == 0);
  if (state == SpanState::kEmpty) PLIMSOLL_CHECK(in_use == 0);
  if (state == SpanState::kFull) PLIMSOLL_CHECK(in_use == klass().objects);  // (4)
}

}  // namespace plimsoll::alloc
