#include "plimsoll/alloc/mcentral.h"

namespace plimsoll::alloc {

Span* MCentral::Take(Mailbox* owner) {
  base::SpinLockHolder hold(mu_);
  Span* span = partial_.PopFront();
  // seq_cst: see Notify(). Mail that still lies in the orphanage is sent on by who reads it.
  if (span != nullptr) span->owner.store(owner, std::memory_order_seq_cst);
  return span;
}

// Files an orphan by what it has to give. False: nothing of it is in use, and it is in no list.
bool MCentral::File(Span* span) {
  const size_t in_use = span->live;
  if (in_use == 0) return false;
  if (in_use < span->klass().objects) {
    span->state = SpanState::kPartial;
    partial_.PushBack(span);
  } else {
    span->state = SpanState::kFull;
  }
  return true;
}

void MCentral::Give(Span* span, Mailbox* orphanage, MHeap<MmapPages>& pages) {
  {
    base::SpinLockHolder hold(mu_);
    ApplyRemote(span);
    if (File(span)) {
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
    Mailbox* owner = span->Owner();
    if (owner != orphanage) {
      if (owner != nullptr) Notify(span, span->remote());
      return true;
    }
    if (span->class_index() != size_class) return false;
    if (ApplyRemote(span) == 0) return true;
    if (span->state == SpanState::kPartial) partial_.Remove(span);
    if (File(span)) return true;
  }
  pages.FreeSpan(span);
  return true;
}

}  // namespace plimsoll::alloc
