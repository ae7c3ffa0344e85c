// MCentral holds, for one size class, the spans that no cache owns: those that dead threads and
// taken-away Ps left behind.
//
//   Span* span = central.Take(cache);        // partial, now the cache's; null: ask the page heap
//   central.Give(span, ...);                 // a span that its cache gives up
//
// Owner:   the orphanage, one Mailbox for all classes: whoever frees an orphan's object leaves word
//          there, and the next Take() of any class reads it.
// Lock:    one for each class. Under it, at most the page heap's lock is taken (after it).
// Invariant: a span in `partial_` is kPartial, owned by the orphanage, and has free objects.
#ifndef PLIMSOLL_ALLOC_MCENTRAL_H_
#define PLIMSOLL_ALLOC_MCENTRAL_H_

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/mheap.h"
#include "plimsoll/alloc/span.h"

namespace plimsoll::alloc {

class MCentral {
 public:
  // A partial span, its owner set to `owner`, its state still kPartial; null: there is none.
  Span* Take(Mailbox* owner);

  // Requires: the caller owns `span`, no object of it is in a cache's hands, and it is in no list.
  void Give(Span* span, Mailbox* orphanage, MHeap<MmapPages>& pages);

  // Takes an orphan's remote frees in. `span` came out of the orphanage's mail, and `size_class` is
  // this MCentral's. False: the span has meanwhile become an orphan of another class.
  bool Settle(Span* span, size_t size_class, Mailbox* orphanage, MHeap<MmapPages>& pages);

  void LockForFork() ABSL_EXCLUSIVE_LOCK_FUNCTION(mu_) { mu_.lock(); }
  void UnlockForFork() ABSL_UNLOCK_FUNCTION(mu_) { mu_.unlock(); }

 private:
  bool File(Span* span) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  base::SpinLock mu_;
  SpanList partial_ ABSL_GUARDED_BY(mu_);
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_MCENTRAL_H_
