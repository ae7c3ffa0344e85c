#include "plimsoll/alloc/misuse.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/span_map.h"

namespace plimsoll::alloc {
namespace {

using base::Hex;
using base::RawText;

const char* StateText(SpanState state) {
  switch (state) {
    case SpanState::kFree:
      return "free";
    case SpanState::kLarge:
      return "large";
    case SpanState::kCurrent:
      return "current";
    case SpanState::kPartial:
      return "partial";
    case SpanState::kEmpty:
      return "empty";
    case SpanState::kFull:
      return "full";
    case SpanState::kCollected:
      return "collected";
    case SpanState::kGuarded:
      return "guarded";
  }
  return "unknown";
}

void AddPlace(RawText& text, const void* address, const Span* span) {
  const uint64_t offset = reinterpret_cast<uintptr_t>(address) - span->base();
  if (span->class_index() == 0) {
    text.Add(": ");
    text.Add(base::Counted{offset, "byte"});
    text.Add(" into a large object of ");
    text.Add(base::Counted{span->large_bytes, "byte"});
  } else {
    const uint32_t size = span->object_size;
    text.Add(": ");
    if (offset % size != 0) {
      text.Add(base::Counted{offset % size, "byte"});
      text.Add(" into ");
    }
    text.Add("object ");
    text.Add(offset / size);
    text.Add(" of a span of ");
    text.Add(size);
    text.Add("-byte objects (class ");
    text.Add(span->class_index());
    text.Add(")");
  }
  text.Add(" at ");
  text.Add(Hex(span->base()));
  text.Add(", state ");
  text.Add(StateText(span->state));
}

// Where the freed span began that had the page at `page`; 0: some of it has been used again since.
uintptr_t BaseOfFreed(uintptr_t page, size_t size_class) {
  for (;; page -= kPageSize) {
    const PageTrace trace = TraceOf(page);
    if (FindSpan(page) != nullptr || !trace.was_used || trace.size_class != size_class) return 0;
    if (trace.first) return page;
  }
}

RawText Begin(const char* call, const char* what, const void* address) {
  RawText text;
  text.Add(call);
  text.Add(what);
  text.Add(Hex(address));
  return text;
}

}  // namespace

void ReportWild(const char* call, const void* address) {
  RawText text = Begin(call, ": wild pointer ", address);
  text.Add(": no allocation of this heap is at this address");
  base::FatalText(text);
}

void ReportNoSpan(const char* call, const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  const PageTrace trace = TraceOf(at);
  if (!trace.was_used) ReportWild(call, address);
  const uintptr_t start = BaseOfFreed(at & ~uintptr_t{kPageSize - 1}, trace.size_class);
  const uint32_t size = kSizeClasses[trace.size_class].size;
  // The benefit of the doubt, where the base is not known: small objects have a start on each page.
  const bool within = trace.size_class == 0 ? at != start : start != 0 && (at - start) % size != 0;
  RawText text = Begin(call, within ? ": wild pointer " : ": double free of ", address);
  text.Add(within ? ": within " : ": ");
  if (trace.size_class == 0) {
    text.Add("a large object");
  } else {
    text.Add("an object of a span of ");
    text.Add(size);
    text.Add("-byte objects (class ");
    text.Add(trace.size_class);
    text.Add(")");
  }
  text.Add(within ? " that was freed, state free" : ", state free");
  base::FatalText(text);
}

void ReportInterior(const char* call, const void* address, const Span* span) {
  RawText text = Begin(call, ": interior pointer ", address);
  AddPlace(text, address, span);
  base::FatalText(text);
}

void ReportCollected(const char* call, const void* address, const Span* span) {
  RawText text = Begin(call, ": the collector owns ", address);
  AddPlace(text, address, span);
  base::FatalText(text);
}

void ReportDoubleFree(const char* call, const void* address, const Span* span) {
  RawText text = Begin(call, ": double free of ", address);
  AddPlace(text, address, span);
  base::FatalText(text);
}

void ReportSizeMismatch(const char* call, const void* address, size_t told, const Span* span) {
  RawText text = Begin(call, ": mismatched size for ", address);
  text.Add(": told ");
  text.Add(told);
  AddPlace(text, address, span);
  base::FatalText(text);
}

}  // namespace plimsoll::alloc
