#include "plimsoll/runtime/gc/afterlife.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/collectable.h"
#include "plimsoll/alloc/fixed_alloc.h"
#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/root.h"

namespace plimsoll::gc::internal {

enum class EntryKind : uint8_t {
  kNone,
  kWeak,
  kCleanup,
  kDestructor,
  kDestroyedBeside,  // while a mark ran, which may have begun at the Root of its destructor
  kDestroyed,
  kResurrected
};

struct Entry {
  Entry* next;        // in its bucket, then in the queue; FixedPool's link while it is free
  Entry* candidate;   // the next one
  uintptr_t base;     // the object's
  uintptr_t address;  // kWeak: in it
  // kCleanup: its shard in the low bits; 0: none, or none any more. Who has an old CleanupId looks
  // at it whatever has become of the entry: so it is never constructed, and always an atomic.
  std::atomic<uint64_t> id;
  EntryKind kind;
  bool is_candidate;
  RootSlot* root;  // kCleanup: the closure; queued: that or the object
  union {
    WeakCell* cell;
    const ClosureOps* ops;
    const FinalType* type;
  };
};

namespace {

// By objects' addresses, so that goroutines seldom meet, and none holds a lock for long.
constexpr size_t kShards = 64;
constexpr size_t kFirstBuckets = 512;  // a machine page of them

struct alignas(64) Shard {
  base::SpinLock mu;  // before Roots', the barrier's and FixedAlloc's; with preemption off
  Entry** buckets ABSL_GUARDED_BY(mu) = nullptr;
  size_t capacity ABSL_GUARDED_BY(mu) = 0;  // a power of two
  size_t count ABSL_GUARDED_BY(mu) = 0;
};

struct Afterlife {
  Shard shards[kShards];
  FixedPool storage{sizeof(Entry), 64};
  std::atomic<uint64_t> waiting{0};  // entries in shards
  std::atomic<uint64_t> ids{0};

  // Of who ends a mark.
  Entry* candidates = nullptr;

  base::SpinLock queue_mu;  // a leaf
  Entry* first ABSL_GUARDED_BY(queue_mu) = nullptr;
  Entry* last ABSL_GUARDED_BY(queue_mu) = nullptr;
  std::atomic<uint64_t> in_queue{0};

  std::atomic<uint64_t> weak{0}, cleanups{0}, destructors{0}, queued{0}, done{0}, resurrected{0};
  std::atomic<AfterlifeFault> fault{AfterlifeFault::kNone};
};
constinit Afterlife all;

bool Planted(AfterlifeFault fault) { return all.fault.load(std::memory_order_relaxed) == fault; }

// An object's start has 16 bytes' alignment; the low bits of this name the shard, others the
// bucket.
uint64_t HashOf(uintptr_t base) {
  const uint64_t h = (base >> 4) * uint64_t{0x9E3779B97F4A7C15};
  return h ^ (h >> 32);
}
Shard& ShardOf(uintptr_t base) { return all.shards[HashOf(base) % kShards]; }
Entry*& BucketOf(Shard& shard, uintptr_t base) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu) {
  return shard.buckets[HashOf(base) / kShards % shard.capacity];
}

Entry** MapBuckets(size_t n) {
  alloc::MmapPages pages;
  return static_cast<Entry**>(pages.Map(ByteCount(n * sizeof(Entry*)), ByteCount(4096), 0).base);
}

void Insert(Shard& shard, Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu) {
  if (shard.count >= shard.capacity) {
    const size_t capacity = std::max(kFirstBuckets, shard.capacity * 2);
    Entry** buckets = MapBuckets(capacity);
    if (buckets == nullptr && shard.buckets == nullptr) {
      base::Fatal("gc: no memory for a table of weak pointers and cleanups");
    }
    if (buckets != nullptr) {  // else the chains become longer
      Entry** old = std::exchange(shard.buckets, buckets);
      const size_t old_capacity = std::exchange(shard.capacity, capacity);
      for (size_t i = 0; i < old_capacity; ++i) {
        while (Entry* e = old[i]) {
          old[i] = e->next;
          Entry*& bucket = BucketOf(shard, e->base);
          e->next = bucket;
          bucket = e;
        }
      }
      if (old != nullptr) alloc::MmapPages().Unmap(old, ByteCount(old_capacity * sizeof(Entry*)));
    }
  }
  Entry*& bucket = BucketOf(shard, entry->base);
  entry->next = bucket;
  bucket = entry;
  ++shard.count;
  all.waiting.fetch_add(1, std::memory_order_relaxed);
}

void Unlink(Shard& shard, Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu) {
  Entry** at = &BucketOf(shard, entry->base);
  while (*at != entry) {
    PLIMSOLL_CHECK(*at != nullptr);
    at = &(*at)->next;
  }
  *at = entry->next;
  entry->next = nullptr;
  --shard.count;
  all.waiting.fetch_sub(1, std::memory_order_relaxed);
}

Entry* NewEntry(EntryKind kind, uintptr_t base, uintptr_t address) {
  auto* entry = static_cast<Entry*>(all.storage.Allocate());
  if (entry == nullptr) base::Fatal("gc: no memory for a weak pointer, a cleanup or a destructor");
  entry->next = nullptr;
  entry->candidate = nullptr;
  entry->base = base;
  entry->address = address;
  entry->id.store(0, std::memory_order_relaxed);
  entry->kind = kind;
  entry->is_candidate = false;
  entry->root = nullptr;
  return entry;
}

Entry* FindWeak(Shard& shard, uintptr_t base, uintptr_t address)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu) {
  if (shard.capacity == 0) return nullptr;
  for (Entry* e = BucketOf(shard, base); e != nullptr; e = e->next) {
    if (e->kind == EntryKind::kWeak && e->address == address) return e;
  }
  return nullptr;
}

// Of the caller's own pointer: the object is in use and stays so.
uintptr_t BaseOf(uintptr_t address, const char* what) {
  alloc::Object o;
  if (!alloc::FindObject(address, &o)) {
    base::Fatal("gc: ", what, " of ", base::Hex(address),
                ", which is no object of the collected heap");
  }
  return o.base();
}

// Whether the mark that is about to end has not reached it.
bool Unreached(uintptr_t address) {
  alloc::Object o;
  PLIMSOLL_CHECK(alloc::FindObject(address, &o), "gc: an object went before its afterlife");
  return !alloc::IsMarked(o);
}

bool IsCandidate(const Entry& entry) {
  switch (entry.kind) {
    case EntryKind::kWeak:
      return Unreached(entry.base) || Unreached(reinterpret_cast<uintptr_t>(entry.cell));
    case EntryKind::kDestroyedBeside:  // of these one looks also whether they are reachable
    case EntryKind::kDestroyed:
      return true;
    default:
      return Unreached(entry.base);
  }
}

// Makes the pointers of a dying object null that lead to what is dead, and the lengths behind them
// zero: its destructor finds nothing, or what is alive.
void ForgetTheDead(uintptr_t base, const FinalType& type) {
  typedef uintptr_t AnyWord __attribute__((may_alias));
  auto* words = reinterpret_cast<AnyWord*>(base);
  bool nulled = false;
  for (uint32_t w = 0; w < type.words; ++w) {
    const uint64_t bit = uint64_t{1} << (w % 64);
    if ((type.mask[w / 64] & bit) != 0) {
      alloc::Object o;
      nulled = alloc::FindObject(__atomic_load_n(&words[w], __ATOMIC_RELAXED), &o) &&
               !alloc::IsMarked(o);
      if (nulled) __atomic_store_n(&words[w], uintptr_t{0}, __ATOMIC_RELAXED);
    } else if (nulled && (type.counts[w / 64] & bit) != 0) {
      __atomic_store_n(&words[w], uintptr_t{0}, __ATOMIC_RELAXED);
    }
  }
}

void Queue(Entry* entry) {
  base::SpinLockHolder hold(all.queue_mu);
  entry->next = nullptr;
  (all.last != nullptr ? all.last->next : all.first) = entry;
  all.last = entry;
  all.in_queue.fetch_add(1, std::memory_order_relaxed);
  all.queued.fetch_add(1, std::memory_order_relaxed);
}

Entry* TakeQueued() {
  alloc::SlowPath no_preempt;
  base::SpinLockHolder hold(all.queue_mu);
  Entry* entry = all.first;
  if (entry == nullptr) return nullptr;
  all.first = entry->next;
  if (all.first == nullptr) all.last = nullptr;
  all.in_queue.fetch_sub(1, std::memory_order_relaxed);
  return entry;
}

void Retire(Entry* entry) {
  Shard& shard = ShardOf(entry->base);
  {
    base::SpinLockHolder hold(shard.mu);
    Unlink(shard, entry);
  }
  all.storage.Free(entry);
}

// What was run. Also where it ended by a Goexit.
class Finish {
 public:
  explicit Finish(Entry* entry) : entry_(entry) {}
  ~Finish() {
    Entry* e = entry_;
    if (e->kind == EntryKind::kCleanup) {
      void* closure = reinterpret_cast<void*>(e->root->load(std::memory_order_relaxed));
      e->ops->destroy(closure);
    }
    alloc::SlowPath no_preempt;
    DeleteRootSlot(std::exchange(e->root, nullptr));
    all.queued.fetch_sub(1, std::memory_order_relaxed);
    all.done.fetch_add(1, std::memory_order_relaxed);
    if (e->kind == EntryKind::kCleanup) {
      all.storage.Free(e);
      return;
    }
    e->kind = Marking() ? EntryKind::kDestroyedBeside : EntryKind::kDestroyed;
    Shard& shard = ShardOf(e->base);
    base::SpinLockHolder hold(shard.mu);
    Insert(shard, e);
  }
  Finish(const Finish&) = delete;
  Finish& operator=(const Finish&) = delete;

 private:
  Entry* entry_;
};

}  // namespace

WeakCell* FindCell(uintptr_t address) {
  const uintptr_t base = BaseOf(address, "a gc::Weak");
  // Judge() may not fall between the look and the shading: nobody else may hold the cell.
  alloc::SlowPath no_preempt;
  Shard& shard = ShardOf(base);
  base::SpinLockHolder hold(shard.mu);
  Entry* entry = FindWeak(shard, base, address);
  if (entry == nullptr) return nullptr;
  ShadeTaken(reinterpret_cast<uintptr_t>(entry->cell));
  return entry->cell;
}

WeakCell* AddCell(uintptr_t address, WeakCell* fresh) {
  const uintptr_t base = BaseOf(address, "a gc::Weak");
  alloc::SlowPath no_preempt;
  Shard& shard = ShardOf(base);
  base::SpinLockHolder hold(shard.mu);
  if (Entry* entry = FindWeak(shard, base, address)) {
    ShadeTaken(reinterpret_cast<uintptr_t>(entry->cell));
    return entry->cell;
  }
  fresh->hidden.store(~address, std::memory_order_relaxed);
  Entry* entry = NewEntry(EntryKind::kWeak, base, address);
  entry->cell = fresh;
  Insert(shard, entry);
  all.weak.fetch_add(1, std::memory_order_relaxed);
  return fresh;
}

uintptr_t Strengthen(const WeakCell& cell) {
  // Judge() comes before this, and the address reads as 0, or after, and what is shaded is marked.
  alloc::SlowPath no_preempt;
  const uintptr_t hidden = cell.hidden.load(std::memory_order_relaxed);
  if (hidden == 0) return 0;
  if (!Planted(AfterlifeFault::kNotShaded)) ShadeTaken(~hidden);
  return ~hidden;
}

CleanupId AddCleanup(const void* object, void* closure, const ClosureOps& ops) {
  const uintptr_t base = BaseOf(reinterpret_cast<uintptr_t>(object), "a cleanup");
  RootSlot* root = NewRootSlot(closure);
  alloc::SlowPath no_preempt;
  Shard& shard = ShardOf(base);
  const uint64_t number = all.ids.fetch_add(1, std::memory_order_relaxed) + 1;
  const uint64_t id = number * kShards + HashOf(base) % kShards;
  base::SpinLockHolder hold(shard.mu);
  Entry* entry = NewEntry(EntryKind::kCleanup, base, base);
  entry->root = root;
  entry->ops = &ops;
  entry->id.store(id, std::memory_order_relaxed);
  Insert(shard, entry);
  all.cleanups.fetch_add(1, std::memory_order_relaxed);
  return {entry, id};
}

void* TakeCleanup(CleanupId id) {
  if (id.id == 0) return nullptr;
  alloc::SlowPath no_preempt;
  Shard& shard = all.shards[id.id % kShards];
  base::SpinLockHolder hold(shard.mu);
  Entry* entry = id.entry;
  // The storage is an Entry's for ever; its id changes under the lock of the shard it names.
  if (entry->id.load(std::memory_order_relaxed) != id.id) return nullptr;
  entry->id.store(0, std::memory_order_relaxed);
  auto* closure = reinterpret_cast<void*>(entry->root->load(std::memory_order_relaxed));
  DeleteRootSlot(std::exchange(entry->root, nullptr));
  all.cleanups.fetch_sub(1, std::memory_order_relaxed);
  if (entry->is_candidate) {
    entry->kind = EntryKind::kNone;  // Judge() removes it
  } else {
    Unlink(shard, entry);
    all.storage.Free(entry);
  }
  return closure;
}

void AddDestructor(void* object, const FinalType& type) {
  const auto base = reinterpret_cast<uintptr_t>(object);
  alloc::SlowPath no_preempt;
  Shard& shard = ShardOf(base);
  base::SpinLockHolder hold(shard.mu);
  Entry* entry = NewEntry(EntryKind::kDestructor, base, base);
  entry->type = &type;
  Insert(shard, entry);
  all.destructors.fetch_add(1, std::memory_order_relaxed);
}

bool HasAfterlife(uintptr_t base) {
  if (all.waiting.load(std::memory_order_relaxed) == 0) return false;
  alloc::SlowPath no_preempt;
  Shard& shard = ShardOf(base);
  base::SpinLockHolder hold(shard.mu);
  if (shard.capacity == 0) return false;
  for (const Entry* e = BucketOf(shard, base); e != nullptr; e = e->next) {
    if (e->base == base) return true;
  }
  return false;
}

void FindCandidates() {
  if (all.waiting.load(std::memory_order_relaxed) == 0) return;
  for (Shard& shard : all.shards) {
    alloc::SlowPath no_preempt;
    base::SpinLockHolder hold(shard.mu);
    for (size_t i = 0; i < shard.capacity; ++i) {
      for (Entry* e = shard.buckets[i]; e != nullptr; e = e->next) {
        if (!IsCandidate(*e)) continue;
        e->is_candidate = true;
        e->candidate = all.candidates;
        all.candidates = e;
      }
    }
  }
}

Judged Judge(bool search, bool verbose) {
  if (search) FindCandidates();
  const auto dead = [](const Entry* e) { return Unreached(e->base); };
  Entry* dying = nullptr;
  Entry* cleanups = nullptr;
  Entry* next;
  // Weak pointers first: nobody gets hold of what is to be destroyed.
  for (Entry* e = std::exchange(all.candidates, nullptr); e != nullptr; e = next) {
    next = e->candidate;
    e->candidate = nullptr;
    e->is_candidate = false;
    switch (e->kind) {
      case EntryKind::kNone:
        Retire(e);
        break;
      case EntryKind::kWeak:
        if (!dead(e) && !Unreached(reinterpret_cast<uintptr_t>(e->cell))) break;
        if (dead(e)) {
          if (Planted(AfterlifeFault::kNotForgotten)) break;
          e->cell->hidden.store(0, std::memory_order_relaxed);
        }
        all.weak.fetch_sub(1, std::memory_order_relaxed);
        Retire(e);
        break;
      case EntryKind::kDestructor:
        if (!dead(e)) break;
        e->candidate = dying;
        dying = e;
        break;
      case EntryKind::kCleanup:
        e->candidate = cleanups;
        cleanups = e;
        break;
      case EntryKind::kDestroyedBeside:
      case EntryKind::kDestroyed:
      case EntryKind::kResurrected:
        if (dead(e)) {
          Retire(e);
        } else if (e->kind == EntryKind::kDestroyedBeside) {
          e->kind = EntryKind::kDestroyed;
        } else if (e->kind == EntryKind::kDestroyed) {
          e->kind = EntryKind::kResurrected;
          all.resurrected.fetch_add(1, std::memory_order_relaxed);
          if (verbose) {
            base::RawLog("gc: a finalized ", e->type->name, " at ", base::Hex(e->base),
                         " is reachable after its destructor has run");
          }
        }
        break;
    }
  }
  // All of them, before any of them is marked: one finds no other, and not itself.
  if (!Planted(AfterlifeFault::kNotNulled)) {
    for (Entry* e = dying; e != nullptr; e = e->candidate) ForgetTheDead(e->base, *e->type);
  }
  Judged judged;
  for (Entry* e = dying; e != nullptr; e = next) {
    next = std::exchange(e->candidate, nullptr);
    alloc::Object o;
    PLIMSOLL_CHECK(alloc::FindObject(e->base, &o));
    if (alloc::Mark(o)) {
      judged.bytes += o.bytes();
      ++judged.objects;
    }
    Shard& shard = ShardOf(e->base);
    {
      base::SpinLockHolder hold(shard.mu);
      Unlink(shard, e);
    }
    e->root = NewRootSlot(reinterpret_cast<void*>(e->base));
    all.destructors.fetch_sub(1, std::memory_order_relaxed);
    Queue(e);
  }
  // What is to be destroyed is marked by now, so its cleanups wait until it is gone.
  for (Entry* e = cleanups; e != nullptr; e = next) {
    next = std::exchange(e->candidate, nullptr);
    if (!dead(e)) continue;
    Shard& shard = ShardOf(e->base);
    {
      base::SpinLockHolder hold(shard.mu);
      e->id.store(0, std::memory_order_relaxed);
      Unlink(shard, e);
    }
    all.cleanups.fetch_sub(1, std::memory_order_relaxed);
    Queue(e);
  }
  return judged;
}

void VerifyAfterlife() {
  for (Shard& shard : all.shards) {
    base::SpinLockHolder hold(shard.mu);
    for (size_t i = 0; i < shard.capacity; ++i) {
      for (const Entry* e = shard.buckets[i]; e != nullptr; e = e->next) {
        if (Unreached(e->base)) {
          base::Fatal("gc: verify: ", base::Hex(e->base),
                      " is not marked, and its weak pointer, cleanup or destructor still waits");
        }
        if (e->kind != EntryKind::kWeak) continue;
        if (Unreached(reinterpret_cast<uintptr_t>(e->cell)) ||
            e->cell->hidden.load(std::memory_order_relaxed) != ~e->address) {
          base::Fatal("gc: verify: the weak pointers to ", base::Hex(e->address),
                      " hold something else");
        }
      }
    }
  }
}

bool HasQueued() { return all.in_queue.load(std::memory_order_relaxed) != 0; }

void RunQueued() {
  while (Entry* entry = TakeQueued()) {
    Finish finish(entry);
    if (entry->kind == EntryKind::kCleanup) {
      entry->ops->run(reinterpret_cast<void*>(entry->root->load(std::memory_order_relaxed)));
    } else {
      entry->type->destroy(reinterpret_cast<void*>(entry->base));
    }
  }
}

AfterlifeStats GetAfterlifeStats() {
  AfterlifeStats s;
  s.weak = all.weak.load(std::memory_order_relaxed);
  s.cleanups = all.cleanups.load(std::memory_order_relaxed);
  s.destructors = all.destructors.load(std::memory_order_relaxed);
  s.queued = all.queued.load(std::memory_order_relaxed);
  s.done = all.done.load(std::memory_order_relaxed);
  s.resurrected = all.resurrected.load(std::memory_order_relaxed);
  return s;
}

void SetAfterlifeFault(AfterlifeFault fault) { all.fault.store(fault, std::memory_order_relaxed); }

}  // namespace plimsoll::gc::internal
