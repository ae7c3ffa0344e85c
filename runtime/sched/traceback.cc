#include "plimsoll/runtime/sched/traceback.h"

#include <cstring>

#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/stack/switch.h"
#include "plimsoll/runtime/symbolize/sort.h"

namespace plimsoll::sched {
namespace {

// Of a deep stack, so many frames from each end.
constexpr int kFramesShown = 50;
constexpr int kFramesWalked = 1 << 20;

// What a reader of a crash does not look for.
bool IsRuntimeFrame(std::string_view name) {
  static constexpr std::string_view kPrefixes[] = {
      "plimsoll::sched::",
      "plimsoll::internal::",
      "plimsoll::base::",
      "plimsoll::Main<",
      "plimsoll::(anonymous namespace)::OnTerminate",
      "plimsoll_switch",
      "plimsoll_goroutine_",
      "__cxxabiv1::",
      "__cxa_throw",
      "__cxa_rethrow",
      "std::terminate",
      "std::rethrow_exception",
      "_Unwind_",
      "__gxx_personality_v0",
  };
  for (const std::string_view prefix : kPrefixes) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

// Uninstrumented: the stack of another goroutine.
__attribute__((noinline, no_sanitize("address", "thread"))) uintptr_t LoadWord(const char* at) {
  return *reinterpret_cast<const volatile uintptr_t*>(at);
}

}  // namespace

std::string_view ClosureOf(std::string_view name) {
  static constexpr std::string_view kPrefixes[] = {"plimsoll::internal::kEntryOps<",
                                                   "plimsoll::Main<"};
  for (const std::string_view prefix : kPrefixes) {
    if (!name.starts_with(prefix)) continue;
    int open = 1;
    for (size_t at = prefix.size(); at < name.size(); ++at) {
      if (name[at] == '<') ++open;
      if (name[at] == '>' && --open == 0) return name.substr(prefix.size(), at - prefix.size());
    }
  }
  return {};
}

bool ParseTracebackLevel(std::string_view text, TracebackLevel* out) {
  static constexpr struct {
    std::string_view text;
    TracebackLevel level;
  } kLevels[] = {
      {"none", TracebackLevel::kNone},     {"0", TracebackLevel::kNone},
      {"single", TracebackLevel::kSingle}, {"", TracebackLevel::kSingle},
      {"1", TracebackLevel::kAll},         {"all", TracebackLevel::kAll},
      {"system", TracebackLevel::kSystem}, {"2", TracebackLevel::kSystem},
      {"crash", TracebackLevel::kCrash},
  };
  for (const auto& l : kLevels) {
    if (l.text != text) continue;
    *out = l.level;
    return true;
  }
  return false;
}

std::string_view StatusText(const G* g) {
  switch (g->status.load(std::memory_order_acquire)) {
    case GStatus::kIdle:
    case GStatus::kDead:
      return g->is_system_stack ? "idle" : "dead";
    case GStatus::kRunnable:
      return "runnable";
    case GStatus::kRunning:
      return "running";
    case GStatus::kSyscall:
      return "syscall";
    case GStatus::kPreempted:
      return "preempted";
    case GStatus::kWaiting:
      return g->reason == WaitReason::kNone ? "waiting" : WaitReasonText(g->reason);
  }
  return "?";
}

symbolize::Registers SavedRegistersOf(const G* g) {
  symbolize::Registers regs;
  const char* sp = static_cast<const char*>(g->sp);
  const auto word = [sp](int i) { return LoadWord(sp + i * 8); };
#if defined(__x86_64__)
  // switch.h's picture: r15 r14 r13 r12 rbx rbp rip.
  regs.r[15] = word(0);
  regs.r[14] = word(1);
  regs.r[13] = word(2);
  regs.r[12] = word(3);
  regs.r[3] = word(4);
  regs.r[6] = word(5);
  regs.pc = word(6);
  regs.r[symbolize::kStackPointer] = reinterpret_cast<uintptr_t>(sp) + 7 * 8;
#elif defined(__aarch64__)
  for (int i = 0; i < 12; ++i) regs.r[19 + i] = word(i);  // x19 … x30
  regs.pc = regs.r[30];
  regs.r[symbolize::kStackPointer] = reinterpret_cast<uintptr_t>(sp) + 160;
#endif
  regs.after_call = true;
  return regs;
}

bool Traceback::PrintFrame(const symbolize::Registers& regs, bool guessed, bool all_frames) {
  symbolize::Location where;
  symbols_.Locate(regs.pc, regs.after_call, &where);
  bool is_call = false;
  if (!all_frames) {
    const std::string_view closure = ClosureOf(where.function);
    if (!closure.empty() && !IsRuntimeFrame(closure)) {
      const std::string_view last(last_name_, last_length_);
      if (last.starts_with(closure) && last.substr(closure.size()).starts_with("::operator()")) {
        return false;
      }
      where.function = closure;
      is_call = true;
    }
  }
  if (!all_frames && IsRuntimeFrame(where.function)) return false;
  // libstdc++ between std::terminate and our handler: it names no inner function.
  if (!all_frames && in_throw_ && where.function.empty()) return false;
  in_throw_ = false;
  base::RawText text;
  if (where.function.empty()) {
    text.Add("?");
  } else {
    text.Add(where.function);
    if (is_call) text.Add("::operator()");
    text.Add("(...)");
  }
  last_length_ =
      where.function.size() < sizeof(last_name_) ? where.function.size() : sizeof(last_name_);
  if (last_length_ > 0) memcpy(last_name_, where.function.data(), last_length_);
  text.Add("\n\t");
  if (!where.file.empty()) {
    text.Add(where.file);
    text.Add(":");
    text.Add(where.line);
    text.Add(" +");
    text.Add(base::Hex(where.offset));
  } else if (!where.module.empty()) {
    text.Add(where.module);
    text.Add("+");
    text.Add(base::Hex(where.module_address));
  } else {
    text.Add("pc=");
    text.Add(base::Hex(regs.pc));
    text.Add(", in no mapped file");
  }
  if (guessed) text.Add(" (found by frame pointer: frames before it may be missing)");
  base::RawLogText(text);
  return true;
}

void Traceback::PrintFrames(const symbolize::Registers& start, const stack::Stack& stack,
                            bool all_frames) {
  if (level_ >= TracebackLevel::kSystem) all_frames = true;
  const symbolize::StackBounds bounds{stack.lo, stack.hi};
  // The end of a deep stack is only known at its end: the last frames are kept in a ring.
  struct Kept {
    symbolize::Registers regs;
    bool guessed;
  };
  Kept* ring = nullptr;
  int64_t beyond = 0;  // frames after the first ones
  int printed = 0;
  symbolize::Registers regs = start;
  symbolize::Step how = symbolize::Step::kExact;
  for (int walked = 0; walked < kFramesWalked; ++walked) {
    const bool guessed = how == symbolize::Step::kFramePointer;
    if (printed < kFramesShown) {
      if (PrintFrame(regs, guessed, all_frames)) ++printed;
    } else {
      if (ring == nullptr) {
        ring = scratch_.Array<Kept>(kFramesShown);
        if (ring == nullptr) {
          base::RawLog("...more frames, and no memory to walk them...");
          return;
        }
      }
      ring[beyond % kFramesShown] = {regs, guessed};
      ++beyond;
    }
    how = symbols_.StepUp(bounds, &regs);
    if (how == symbolize::Step::kEnd) break;
  }
  int64_t first = 0;
  if (beyond > kFramesShown) {
    base::RawLog("...", beyond - kFramesShown, " frames elided...");
    first = beyond - kFramesShown;
  }
  for (int64_t i = first; i < beyond; ++i) {
    PrintFrame(ring[i % kFramesShown].regs, ring[i % kFramesShown].guessed, all_frames);
  }
}

void Traceback::PrintCreator(const G* g) {
  if (g->created_at == 0) return;
  symbolize::Registers regs;
  regs.pc = g->created_at;
  regs.after_call = true;
  symbolize::Location where;
  symbols_.Locate(regs.pc, true, &where);
  if (where.function.empty()) return;
  if (level_ < TracebackLevel::kSystem && IsRuntimeFrame(where.function)) return;  // main
  base::RawText text;
  text.Add("created by ");
  text.Add(where.function);
  if (g->parent_id != 0) {
    text.Add(" in goroutine ");
    text.Add(g->parent_id);
  }
  text.Add("\n\t");
  if (!where.file.empty()) {
    text.Add(where.file);
    text.Add(":");
    text.Add(where.line);
    text.Add(" +");
    text.Add(base::Hex(where.offset));
  } else {
    text.Add(where.module);
    text.Add("+");
    text.Add(base::Hex(where.module_address));
  }
  base::RawLogText(text);
}

void Traceback::Print(const G* g, const symbolize::Registers* regs) {
  const GStatus status = g->status.load(std::memory_order_acquire);
  base::RawText text;
  text.Add("\ngoroutine ");
  text.Add(g->id);
  text.Add(" [");
  if (g->is_proxy()) {
    text.Add("foreign thread");
  } else {
    text.Add(StatusText(g));
  }
  if (regs == nullptr && status == GStatus::kWaiting) {
    const int64_t minutes = (NowNanos() - g->waiting_since_ns) / 60'000'000'000;
    if (minutes >= 1) {
      text.Add(", ");
      text.Add(minutes);
      text.Add(" minutes");
    }
  }
  if (g->is_attached) {
    text.Add(", attached thread");
  } else if (g->locks > 0) {
    text.Add(", locked to thread");
  }
  text.Add("]");
  if (g->label[0] != '\0') {
    // A label may hold anything; a line of the dump is one line of a log.
    text.Add(" {\"label\": ");
    text.Add(base::Quoted{g->label});
    text.Add("}");
  }
  text.Add(":");
  base::RawLogText(text);
  if (!panic_file_.empty()) {
    base::RawLog("panic(...)\n\t", panic_file_, ":", panic_line_);
    panic_file_ = {};
  }

  if (status == GStatus::kPreempted && g->ucontext != nullptr) {
    // Its thread's registers, if we have them, are the handler's, on another stack.
    PrintFrames(symbolize::RegistersOf(g->ucontext), g->stack, /*all_frames=*/false);
  } else if (regs != nullptr) {
    PrintFrames(*regs, g->stack, g->is_system_stack);
  } else if (status != GStatus::kWaiting && status != GStatus::kRunnable) {
    base::RawLog("\tgoroutine running on other thread; stack unavailable");
  } else {
    const symbolize::Registers saved = SavedRegistersOf(g);
    if (saved.pc == reinterpret_cast<uintptr_t>(&plimsoll_goroutine_start)) {
      // It has not run yet: what it will run.
      symbolize::Registers entry;
      entry.pc = reinterpret_cast<uintptr_t>(g->entry->run);
      PrintFrame(entry, false, level_ >= TracebackLevel::kSystem);
    } else {
      PrintFrames(saved, g->stack, /*all_frames=*/false);
    }
  }
  PrintCreator(g);
}

void Traceback::PrintAll(const G* except) {
  struct List {
    const G** items;
    size_t count;
    size_t room;
    const G* except;
    bool runtimes_too;
  } list{nullptr, 0, 0, except, level_ >= TracebackLevel::kSystem};
  const auto count = [](const stack::Stack&, void* arg) { ++static_cast<List*>(arg)->room; };
  sched.stacks.ForEachSlot(count, &list);
  list.items = scratch_.Array<const G*>(list.room);
  if (list.items == nullptr) {
    base::RawLog("\n(no memory for a list of ", list.room, " goroutines)");
    return;
  }
  sched.stacks.ForEachSlot(
      [](const stack::Stack& stack, void* arg) {
        auto* list = static_cast<List*>(arg);
        const G* g = GOfStack(stack);
        const GStatus status = g->status.load(std::memory_order_acquire);
        if (status == GStatus::kIdle || status == GStatus::kDead || g->id == 0 ||
            (g->is_runtimes_own && !list->runtimes_too) || g == list->except ||
            list->count == list->room) {
          return;
        }
        list->items[list->count++] = g;
      },
      &list);
  symbolize::Sort(list.items, list.count, [](const G* a, const G* b) {
    return a->is_main != b->is_main ? a->is_main : a->id < b->id;
  });
  for (size_t i = 0; i < list.count; ++i) {
    const G* g = list.items[i];
    symbolize::Registers regs;
    Print(g, FrozenRegisters(g, &regs) ? &regs : nullptr);
  }
}

}  // namespace plimsoll::sched
