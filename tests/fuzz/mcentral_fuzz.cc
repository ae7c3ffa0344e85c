// Fuzzes MCentral and the mail between owners of spans beside a plain list of spans: bytes are
// operations, by two owners, by strangers who free, and by whoever reads the orphanage's mail.
// After each one every span's bits, state and owner are what the list says, orphans are adopted in
// the order in which they became worth it, and no free is forgotten: a span with remote bits is in
// a mailbox, once.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/mcentral.h"
#include "plimsoll/alloc/mheap.h"
#include "plimsoll/alloc/size_class.h"
#include "plimsoll/alloc/span.h"
#include "plimsoll/alloc/span_map.h"
#include "tests/fuzz/heap_look.h"

namespace plimsoll::alloc {
namespace {

// Regions stay in the span map for ever, and so do the pages; each input gives all of them back.
MHeap<MmapPages>& Pages() {
  static auto& pages = *new MHeap<MmapPages>;
  return pages;
}

// Every record there ever was: one that was freed may still lie in a mailbox, by Span's (5).
std::set<Span*>& Records() {
  static auto& records = *new std::set<Span*>;
  return records;
}

// Of eight words, of one word with a tail, of two objects, of one.
const size_t kClasses[] = {ClassOf(16), ClassOf(1000), ClassOf(16'384), ClassOf(kMaxSmall)};

struct Held {
  size_t kind = 0;  // of kClasses
  Mailbox* owner = nullptr;
  std::vector<bool> in_use;  // as the owner knows it
  std::vector<bool> freed;   // by strangers, of these
  size_t used() const { return static_cast<size_t>(std::ranges::count(in_use, true)); }
};

class Model {
 public:
  ~Model() {
    // Everything is freed where it is, then given up: so nothing is left.
    for (auto& [span, held] : spans_) {
      for (uint32_t i = 0; i < held.in_use.size(); ++i) FreeRemote(span, held, i);
    }
    ReadAllMail();
    std::vector<Span*> owned;
    for (auto& [span, held] : spans_) owned.push_back(span);
    for (Span* span : owned) Give(span);
    Require(spans_.empty());
    Check();
    ReadAllMail();  // about spans that are gone
    Require(Pages().Stats().in_use == 0);
  }

  void Run(unsigned op, unsigned a, unsigned b) {
    Mailbox& by = boxes_[op >> 4 & 1];
    switch (op % 10) {
      case 0:
        return New(by, a % std::size(kClasses));
      case 1:
        return Adopt(by, a % std::size(kClasses));
      case 2:
        return ReadMail(by);
      case 3:
        return ReadOrphansMail();
      case 4:
        if (auto it = Pick(a); it != spans_.end() && it->second.owner != &orphanage_) {
          Give(it->first);
        }
        return;
      case 5:
      case 6:  // the owner hands objects out, or takes them back
        if (auto it = Pick(a); it != spans_.end() && it->second.owner != &orphanage_) {
          for (unsigned i = 0; i <= b % 64; ++i)
            Flip(it->first, it->second, b * 7 + i, op % 2 == 0);
        }
        return;
      default:
        if (auto it = Pick(a); it != spans_.end()) {
          for (unsigned i = 0; i <= b % 16; ++i) FreeRemote(it->first, it->second, b * 5 + i);
        }
    }
  }

  void Check() {
    uint64_t pages = 0;
    for (const auto& [span, held] : spans_) {
      const SizeClass& c = kSizeClasses[kClasses[held.kind]];
      pages += c.pages;
      Require(FindSpan(span->base()) == span && FindSpan(span->base() + span->bytes() - 1) == span);
      Require(span->class_index() == kClasses[held.kind] && span->Owner() == held.owner);
      span->CheckInvariants();
      bool any = false;
      for (uint32_t i = 0; i < c.objects; ++i) {
        const bool freed =
            (span->remote().bits[i / 64].load(std::memory_order_relaxed) >> (i % 64) & 1) != 0;
        Require(span->IsInUse(i) == held.in_use[i] && freed == held.freed[i]);
        any = any || freed;
      }
      if (held.owner == &orphanage_) {
        Require(span->state == (held.used() < c.objects ? SpanState::kPartial : SpanState::kFull));
      }
      if (any) Require(span->remote().notified.load() != 0);
    }
    Require(Pages().Stats().in_use == pages << kPageShift);
    // A record is in as many mailboxes as its flag says: in one or in none.
    std::map<const Span*, int> mail;
    for (Mailbox* box : {&boxes_[0], &boxes_[1], &orphanage_}) {
      for (Span* s = box->first.load(); s != nullptr; s = s->remote().notify_next.load()) {
        Require(++mail[s] == 1);
      }
    }
    for (Span* record : Records()) {
      Require((record->remote().notified.load() != 0) == mail.contains(record));
    }
  }

 private:
  std::map<Span*, Held>::iterator Pick(unsigned which) {
    if (spans_.empty()) return spans_.end();
    return std::next(spans_.begin(), which % spans_.size());
  }

  void New(Mailbox& by, size_t kind) {
    if (spans_.size() >= 24) return;  // each step looks at all of them
    Span* span = Pages().NewSpan(kClasses[kind], &by);
    Require(span != nullptr);
    Records().insert(span);
    const size_t objects = kSizeClasses[kClasses[kind]].objects;
    spans_[span] = {kind, &by, std::vector<bool>(objects), std::vector<bool>(objects)};
  }

  void Flip(Span* span, Held& held, unsigned which, bool in_use) {
    const uint32_t i = which % held.in_use.size();
    if (held.in_use[i] == in_use || held.freed[i]) return;
    Span::StoreByte(span->InUseByte(i), in_use ? 1 : 0);
    span->live += in_use ? 1 : -1;
    held.in_use[i] = in_use;
  }

  // As MCache::Send does, of one object.
  static void FreeRemote(Span* span, Held& held, unsigned which) {
    const uint32_t i = which % held.in_use.size();
    if (!held.in_use[i] || held.freed[i]) return;
    Span::Remote& remote = span->remote();
    const uint64_t bit = uint64_t{1} << (i % 64);
    Require((remote.bits[i / 64].fetch_or(bit, std::memory_order_seq_cst) & bit) == 0);
    Notify(span, remote);
    held.freed[i] = true;
  }

  // What strangers freed is free; returns how many objects.
  static size_t Settle(Held& held) {
    const auto freed = static_cast<size_t>(std::ranges::count(held.freed, true));
    for (size_t i = 0; i < held.freed.size(); ++i) {
      if (held.freed[i]) held.in_use[i] = held.freed[i] = false;
    }
    return freed;
  }

  // An orphan's place in the list, or its end.
  void File(Span* span, Held& held) {
    held.owner = &orphanage_;
    if (held.used() == 0) {
      spans_.erase(span);
    } else if (held.used() < held.in_use.size()) {
      partial_[held.kind].push_back(span);
    }
  }

  void Give(Span* span) {
    Held& held = spans_.at(span);
    central_[held.kind].Give(span, &orphanage_, Pages());
    Settle(held);
    File(span, held);
  }

  void Adopt(Mailbox& by, size_t kind) {
    Span* span = central_[kind].Take(&by);
    std::deque<Span*>& waiting = partial_[kind];
    Require(span == (waiting.empty() ? nullptr : waiting.front()));
    if (span == nullptr) return;
    waiting.pop_front();
    Require(span->state == SpanState::kPartial);
    spans_.at(span).owner = &by;
  }

  // As MCache::ReadMail and HeapCore::Forward do.
  void ReadMail(Mailbox& by) {
    for (Span* span = TakeMail(by); span != nullptr;) {
      Span* next = Unnotify(span);
      if (span->Owner() == &by) {
        Require(ApplyRemote(span) == Settle(spans_.at(span)));
      } else {
        Notify(span, span->remote());
      }
      span = next;
    }
  }

  // As HeapCore's, whose MCentrals are one for each class.
  void ReadOrphansMail() {
    for (Span* span = TakeMail(orphanage_); span != nullptr;) {
      Span* next = Unnotify(span);
      const size_t kind = KindOf(span->class_index());
      const auto it = spans_.find(span);
      const bool ours = it != spans_.end() && it->second.owner == &orphanage_;
      // Another class's MCentral says so, and leaves the span alone.
      if (ours) {
        const size_t other = (kind + 1) % std::size(kClasses);
        Require(!central_[other].Settle(span, kClasses[other], &orphanage_, Pages()));
      }
      Require(central_[kind].Settle(span, kClasses[kind], &orphanage_, Pages()));
      if (ours && Settle(it->second) > 0) {
        std::erase(partial_[kind], span);
        File(span, it->second);
      }
      span = next;
    }
  }

  // Twice: what is in the wrong box is sent to its owner's, which may have been read before.
  void ReadAllMail() {
    for (int i = 0; i < 2; ++i) {
      for (Mailbox& box : boxes_) ReadMail(box);
      ReadOrphansMail();
    }
    for (Mailbox* box : {&boxes_[0], &boxes_[1], &orphanage_}) Require(box->first == nullptr);
  }

  static size_t KindOf(size_t size_class) {
    return static_cast<size_t>(std::ranges::find(kClasses, size_class) - std::begin(kClasses));
  }

  MCentral central_[std::size(kClasses)];
  Mailbox boxes_[2];
  Mailbox orphanage_;
  std::map<Span*, Held> spans_;
  std::deque<Span*> partial_[std::size(kClasses)];  // orphans that have free objects, as they came
};

}  // namespace
}  // namespace plimsoll::alloc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 600) return 0;  // each step looks at every object
  plimsoll::alloc::Model model;
  for (size_t i = 0; i + 3 <= size; i += 3) {
    model.Run(data[i], data[i + 1], data[i + 2]);
    model.Check();
  }
  return 0;
}
