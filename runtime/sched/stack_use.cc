#include "plimsoll/runtime/sched/stack_use.h"

#include <cstring>
#include <new>

#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/saved_registers.h"
#include "plimsoll/runtime/sched/stop_world.h"
#include "plimsoll/runtime/sched/traceback.h"
#include "plimsoll/runtime/symbolize/sort.h"

namespace plimsoll::sched {
namespace {

bool Lives(const G* g, GStatus status) {
  return status != GStatus::kIdle && status != GStatus::kDead && g->id != 0;
}

// From the upper end of g's stack to the lowest page it touched, also where that was given back.
uint64_t DepthOf(const G* g, const stack::TouchedPages& pages) {
  if (pages.source() == stack::TouchedPages::Source::kNone) return 0;
  const uint64_t depth = g->stack.hi - pages.Lowest(g->stack);
  return g->trimmed_id == g->id && g->trimmed_depth > depth ? g->trimmed_depth : depth;
}

// A foreign thread does not stop, and writes these of a goroutine that it is making and that is
// kRunnable already. Uninstrumented: one of the two values is read.
__attribute__((noinline, no_sanitize("address", "thread"))) const internal::EntryOps* EntryOf(
    const G* g) {
  return *static_cast<const internal::EntryOps* const volatile*>(&g->entry);
}
__attribute__((noinline, no_sanitize("address", "thread"))) uintptr_t SpOf(const G* g) {
  return reinterpret_cast<uintptr_t>(*static_cast<void* const volatile*>(&g->sp));
}

// How much of it is in use by one that is not running.
uint64_t InUse(const G* g, GStatus status) {
  const uintptr_t sp =
      status == GStatus::kSyscall || status == GStatus::kPreempted ? g->call_sp : SpOf(g);
  return sp >= g->stack.lo && sp <= g->stack.hi ? g->stack.hi - sp : 0;
}

// --- The ledger.

constexpr size_t kKinds = 512;

struct Ledger {
  base::SpinLock mu;
  EndedStacks kinds[kKinds] ABSL_GUARDED_BY(mu);  // by hash, goroutines 0: free
  size_t used ABSL_GUARDED_BY(mu) = 0;
  EndedStacks others ABSL_GUARDED_BY(mu);
};
constinit Ledger ledger;
constinit const stack::TouchedPages* ledger_pages = nullptr;

void Add(EndedStacks& kind, uint64_t size, uint64_t deepest) {
  ++kind.goroutines;
  if (kind.size < size) kind.size = size;
  if (kind.deepest < deepest) kind.deepest = deepest;
}

// In the commit of its end, on the stack of whatever runs next: short, and no memory but its own.
void NoteEnd(const G* g) {
  const uint64_t size = g->stack.hi - g->stack.lo;
  const uint64_t deepest = DepthOf(g, *ledger_pages);
  // What the next one on this stack touches is then its own. (Its first page is that of the G.)
  (void)sched.stacks.Trim(g->stack, g->stack.hi - deepest, reinterpret_cast<uintptr_t>(g));
  if (g->is_runtimes_own) return;
  uint64_t hash = reinterpret_cast<uintptr_t>(g->entry) * 0x9e3779b97f4a7c15u;
  for (const char* at = g->label; *at != '\0'; ++at) {
    hash = (hash ^ static_cast<unsigned char>(*at)) * 0x100000001b3u;
  }
  base::SpinLockHolder hold(ledger.mu);
  for (size_t i = hash >> 32;; ++i) {
    EndedStacks& kind = ledger.kinds[i % kKinds];
    if (kind.goroutines == 0) {
      // A quarter stays free, so that a search ends soon.
      if (ledger.used >= kKinds / 4 * 3) return Add(ledger.others, size, deepest);
      ++ledger.used;
      kind.entry = g->entry;
      memcpy(kind.label, g->label, sizeof(kind.label));
    } else if (kind.entry != g->entry || strcmp(kind.label, g->label) != 0) {
      continue;
    }
    return Add(kind, size, deepest);
  }
}

// --- Texts.

// "36 KiB"; rounded up.
void AddKiB(base::RawText& text, uint64_t bytes) {
  text.Add((bytes + 1023) / 1024);
  text.Add(" KiB");
}

void AddLabel(base::RawText& text, const char* label) {
  if (label[0] == '\0') return;
  text.Add(" {\"label\": ");
  text.Add(base::Quoted{label});
  text.Add("}");
}

// What a report tells of one kind.
struct Kind {
  EndedStacks stacks;
  uint64_t live = 0;
};

}  // namespace

bool StackIsLive(const stack::Stack& slot) {
  const GStatus status = GOfStack(slot)->status.load(std::memory_order_relaxed);
  return status != GStatus::kIdle && status != GStatus::kDead;
}

size_t StackUses::Next(StackUse* out, size_t n) {
  constexpr size_t kAtOnce = 64;
  if (sched.started.load(std::memory_order_acquire) == kNotStarted) return 0;
  for (;;) {
    stack::Stack step[kAtOnce];
    const int count =
        sched.stacks.NextSlots(walk_, step, static_cast<int>(n < kAtOnce ? n : kAtOnce));
    if (count == 0) return 0;
    size_t found = 0;
    StopTheWorld(StopReason::kStackUse);
    const G* caller = CurrentG();
    for (int i = 0; i < count; ++i) {
      const G* g = GOfStack(step[i]);
      // acquire: as in ForEachG
      const GStatus status = g->status.load(std::memory_order_acquire);
      if (!Lives(g, status) || g->is_runtimes_own) continue;
      StackUse& use = out[found++];
      use.id = g->id;
      use.entry = EntryOf(g);
      memcpy(use.label, g->label, sizeof(use.label));
      use.size = g->stack.hi - g->stack.lo;
      use.deepest = DepthOf(g, pages_);
      use.now = InUse(g, status);
      if (g == caller) {
        SavedRegisters here;
        here.Save();
        use.now = g->stack.hi - here.sp;
      }
    }
    StartTheWorld();
    if (found > 0) return found;
  }
}

bool StackLedgerKept() { return ledger_pages != nullptr; }

void KeepStackLedger() {
  static stack::TouchedPages pages;
  ledger_pages = &pages;
  NoteEnds(NoteEnd);
}

bool EndedKind(size_t i, EndedStacks* out) {
  NoPreempt guard;
  base::SpinLockHolder hold(ledger.mu);
  for (const EndedStacks& kind : ledger.kinds) {
    if (kind.goroutines == 0 || i-- > 0) continue;
    *out = kind;
    return true;
  }
  *out = ledger.others;
  return i == 0 && ledger.others.goroutines > 0;
}

std::string_view EntryNames::NameOf(const internal::EntryOps* entry) {
  if (entry == nullptr) return {};
  symbols_.Locate(reinterpret_cast<uintptr_t>(entry->run), /*after_call=*/false, &where_);
  const std::string_view closure = ClosureOf(where_.function);
  if (closure.empty()) return where_.function;
  if (closure.starts_with("plimsoll::sched::Run") && closure.ends_with("MainClosure")) {
    return "main";
  }
  constexpr std::string_view kCall = "::operator()";
  const size_t n =
      closure.size() < sizeof(name_) - kCall.size() ? closure.size() : sizeof(name_) - kCall.size();
  memcpy(name_, closure.data(), n);
  memcpy(name_ + n, kCall.data(), kCall.size());
  return {name_, n + kCall.size()};
}

void PrintDeepestStacks() {
  constexpr size_t kTold = 20;
  struct Found {
    const stack::TouchedPages pages;
    const G* top[kTold];
    uint64_t depth[kTold];
    size_t told = 0;
    uint64_t all = 0, deep = 0, reserved = 0;
  } found;
  if (found.pages.source() == stack::TouchedPages::Source::kNone) return;
  sched.stacks.ForEachSlot(
      [](const stack::Stack& stack, void* arg) {
        auto& found = *static_cast<Found*>(arg);
        const G* g = GOfStack(stack);
        if (!Lives(g, g->status.load(std::memory_order_acquire)) || g->is_runtimes_own) return;
        const uint64_t depth = DepthOf(g, found.pages);
        ++found.all;
        found.deep += depth;
        found.reserved += g->stack.hi - g->stack.lo;
        if (found.told == kTold && found.depth[kTold - 1] >= depth) return;
        size_t at = found.told < kTold ? found.told++ : kTold - 1;
        for (; at > 0 && found.depth[at - 1] < depth; --at) {
          found.top[at] = found.top[at - 1];
          found.depth[at] = found.depth[at - 1];
        }
        found.top[at] = g;
        found.depth[at] = depth;
      },
      &found);
  base::RawLog("\nstacks, the deepest first, to a page of ", stack::PageBytes(), " bytes:");
  for (size_t i = 0; i < found.told; ++i) {
    const G* g = found.top[i];
    base::RawText text;
    text.Add("\tgoroutine ");
    text.Add(g->id);
    text.Add(": ");
    AddKiB(text, found.depth[i]);
    text.Add(" of ");
    AddKiB(text, g->stack.hi - g->stack.lo);
    AddLabel(text, g->label);
    base::RawLogText(text);
  }
  base::RawText text;
  text.Add("\t");
  if (found.all > found.told) {
    text.Add(found.all - found.told);
    text.Add(" more, none deeper; ");
  }
  text.Add("all ");
  text.Add(found.all);
  text.Add(" together: ");
  AddKiB(text, found.deep);
  text.Add(" of ");
  AddKiB(text, found.reserved);
  base::RawLogText(text);
}

void PrintStackLedger() {
  if (!StackLedgerKept()) return;
  // The process may be short of everything; what it cannot tell it leaves out.
  symbolize::Scratch scratch;
  Kind* kinds = scratch.Array<Kind>(2 * kKinds);
  void* room = scratch.Allocate(sizeof(EntryNames));
  StackUse* live = scratch.Array<StackUse>(64);
  if (kinds == nullptr || room == nullptr || live == nullptr) return;
  size_t n = 0;
  while (n < kKinds && EndedKind(n, &kinds[n].stacks)) ++n;
  StackUses uses;
  while (const size_t found = uses.Next(live, 64)) {
    for (size_t i = 0; i < found; ++i) {
      size_t k = 0;
      while (k < n && (kinds[k].stacks.entry != live[i].entry ||
                       strcmp(kinds[k].stacks.label, live[i].label) != 0)) {
        ++k;
      }
      if (k == 2 * kKinds) continue;
      if (k == n) {
        ++n;
        kinds[k].stacks.entry = live[i].entry;
        memcpy(kinds[k].stacks.label, live[i].label, sizeof(live[i].label));
      }
      ++kinds[k].live;
      EndedStacks& s = kinds[k].stacks;
      if (s.size < live[i].size) s.size = live[i].size;
      if (s.deepest < live[i].deepest) s.deepest = live[i].deepest;
    }
  }
  symbolize::Sort(kinds, n,
                  [](const Kind& a, const Kind& b) { return a.stacks.deepest > b.stacks.deepest; });
  if (!uses.known()) {
    base::RawLog("plimsoll: stackreport: this kernel does not tell which pages are touched");
    return;
  }
  base::RawLog("plimsoll: stackreport: what ran, the deepest first, to a page of ",
               stack::PageBytes(), " bytes:");
  auto* names = ::new (room) EntryNames;
  for (size_t i = 0; i < n; ++i) {
    const EndedStacks& s = kinds[i].stacks;
    base::RawText text;
    text.Add("plimsoll: stackreport: ");
    AddKiB(text, s.deepest);
    text.Add(" of ");
    AddKiB(text, s.size);
    text.Add(", ");
    text.Add(base::Counted{s.goroutines + kinds[i].live, "goroutine"});
    text.Add(": ");
    const std::string_view name = names->NameOf(s.entry);
    text.Add(s.entry == nullptr ? "all others" : name.empty() ? "?" : name);
    AddLabel(text, s.label);
    base::RawLogText(text);
  }
  names->~EntryNames();
}

void PrintHowToGetMore(const G* g) {
  base::RawLog("");
  if (g->is_main) {
    base::RawLog(
        "runtime: the main goroutine's stack is what it is; Go(f, {.stack = plimsoll::MiB(16)}) "
        "gives "
        "another one more");
    return;
  }
  // Up to the default the option names stack and guard together.
  const uint64_t has = (g->stack.hi - g->stack.lo + stack::kGuardBytes) >> 10;
  base::RawLog("runtime: Go(f, {.stack = plimsoll::KiB(", 2 * has,
               ")}) gives it twice as much; plimsoll::StackHighWater() and "
               "PLIMSOLL_DEBUG=stackreport=1 tell how deep stacks get");
}

}  // namespace plimsoll::sched
