#include "plimsoll/alloc/mcentral.h"

namespace plimsoll::alloc {

Span* MCentral::Take(Mailbox* owner) {
  base::SpinLockHolder hold(mu_);
  Span* span = partial_.PopFront();
  // seq_cst: see Notify(). Mail that still lies in the orphanage is sent on by who reads it.
  if (span != nullptr) span->owner.store(owner, std::memory_order_seq_cst);
  return span;
}

void MCentral::Give(Span* span, Mailbox* orphanage, MHeap<MmapPages>& pages) {
  {
    base::SpinLockHolder hold(mu_);
    ApplyRemote(span);
    const size_t live = span->CountAllocated();
    const size_t free = span->klass().objects - live;
    if (live != 0) {
      if (free >= WorthHaving(span->klass())) {
        span->state = SpanState::kPartial;
        span->countdown = live;
        partial_.PushBack(span);
      } else {
        span->state = SpanState::kFull;
        span->countdown = WorthHaving(span->klass()) - free;
      }
      span->owner.store(orphanage, std::memory_order_seq_cst);
      return;
    }
  }
  pages.FreeSpan(span);
}

bool MCentral::Settle(Span* span, size_t size_class, Mailbox* orphanage, MHeap<MmapPages>& pages) {
  {
    base::SpinLockHolder hold(mu_);
    // It may have been adopted, and even freed and made anew, since it was put in the mail. Only
    // who holds this lock makes an orphan of this class another's.
    Mailbox* owner = span->owner.load(std::memory_order_seq_cst);
    if (owner != orphanage) {
      if (owner != nullptr) Notify(span, span->remote());
      return true;
    }
    if (span->class_index() != size_class) return false;
    const size_t freed = ApplyRemote(span);
    if (freed == 0) return true;
    if (span->state == SpanState::kPartial) partial_.Remove(span);
    const size_t live = span->CountAllocated();
    const size_t free = span->klass().objects - live;
    if (live != 0) {
      if (free >= WorthHaving(span->klass())) {
        span->state = SpanState::kPartial;
        span->countdown = live;
        partial_.PushBack(span);
      } else {
        span->countdown = WorthHaving(span->klass()) - free;
      }
      return true;
    }
  }
  pages.FreeSpan(span);
  return true;
}

}  // namespace plimsoll::alloc
