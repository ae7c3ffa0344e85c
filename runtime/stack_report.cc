#include "plimsoll/runtime/stack_report.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/sched/stack_use.h"

namespace plimsoll {
namespace {

constexpr size_t kAtOnce = 64;
constexpr size_t kMostKinds = 1000;
constexpr char kOthers[] = "all others";

bool Deeper(const StackUsage& a, const StackUsage& b) {
  return a.deepest != b.deepest ? a.deepest > b.deepest : a.goroutine < b.goroutine;
}

// The greatest of both.
void Take(ByteCount& into, ByteCount other) {
  if (into < other) into = other;
}

void AddBytes(base::RawText& text, ByteCount bytes) {
  text.Add((bytes.value() + 1023) / 1024);
  text.Add(" KiB");
}

void AddLine(std::string& out, const StackUsage& usage, bool kind) {
  base::RawText text;
  AddBytes(text, usage.deepest);
  text.Add(" of ");
  AddBytes(text, usage.size);
  text.Add(", ");
  AddBytes(text, usage.now);
  text.Add(" now, ");
  if (kind) {
    text.Add(base::Counted{static_cast<uint64_t>(usage.goroutines), "goroutine"});
  } else {
    text.Add("goroutine ");
    text.Add(usage.goroutine);
  }
  text.Add(": ");
  text.Add(usage.function.empty() ? "?" : std::string_view(usage.function));
  if (!usage.label.empty()) {
    text.Add(" {\"label\": ");
    text.Add(base::Quoted{usage.label});
    text.Add("}");
  }
  text.Add("\n");
  out += text.view();
}

}  // namespace

StackReport StackHighWater(size_t top) {
  StackReport report;
  const auto uses = std::make_unique<sched::StackUses>();
  const auto names = std::make_unique<sched::EntryNames>();
  report.known = uses->known();
  report.page = ByteCount(sched::StackUses::page_bytes());

  using Key = std::pair<const internal::EntryOps*, std::string>;
  std::map<Key, StackUsage> kinds;
  std::map<const internal::EntryOps*, std::string> functions;
  std::vector<StackUsage>& deepest = report.top;
  const auto found = std::make_unique<sched::StackUse[]>(kAtOnce);
  while (const size_t n = uses->Next(found.get(), kAtOnce)) {
    for (size_t i = 0; i < n; ++i) {
      const sched::StackUse& use = found[i];
      auto [function, is_new] = functions.try_emplace(use.entry);
      if (is_new) function->second = names->NameOf(use.entry);
      StackUsage usage{.function = function->second,
                       .label = use.label,
                       .goroutine = use.id,
                       .goroutines = 1,
                       .size = ByteCount(use.size),
                       .deepest = ByteCount(use.deepest),
                       .now = ByteCount(use.now)};
      ++report.goroutines;
      report.size += usage.size;
      report.deepest += usage.deepest;
      report.now += usage.now;

      Key key(use.entry, use.label);
      const bool one_too_many = kinds.size() >= kMostKinds && !kinds.contains(key);
      if (one_too_many) key = Key(nullptr, kOthers);
      auto [kind, first] = kinds.try_emplace(key, usage);
      if (!first) {
        StackUsage& k = kind->second;
        ++k.goroutines;
        if (Deeper(usage, k)) k.goroutine = usage.goroutine;
        Take(k.size, usage.size);
        Take(k.deepest, usage.deepest);
        Take(k.now, usage.now);
      }
      if (one_too_many) {
        kind->second.function = kOthers;
        kind->second.label.clear();
      }

      if (top == 0 || (deepest.size() == top && !Deeper(usage, deepest.back()))) continue;
      if (deepest.size() == top) deepest.pop_back();
      deepest.insert(std::upper_bound(deepest.begin(), deepest.end(), usage, Deeper),
                     std::move(usage));
    }
  }
  for (auto& [key, usage] : kinds) report.kinds.push_back(std::move(usage));
  std::sort(report.kinds.begin(), report.kinds.end(), Deeper);
  return report;
}

std::string ToText(const StackReport& report) {
  if (!report.known) return "stacks: this kernel does not tell which of their pages were touched\n";
  std::string out;
  for (const StackUsage& usage : report.kinds) AddLine(out, usage, /*kind=*/true);
  for (const StackUsage& usage : report.top) AddLine(out, usage, /*kind=*/false);
  base::RawText all;
  AddBytes(all, report.deepest);
  all.Add(" of ");
  AddBytes(all, report.size);
  all.Add(", ");
  AddBytes(all, report.now);
  all.Add(" now, all ");
  all.Add(base::Counted{static_cast<uint64_t>(report.goroutines), "goroutine"});
  all.Add(" together\n");
  out += all.view();
  return out;
}

}  // namespace plimsoll
