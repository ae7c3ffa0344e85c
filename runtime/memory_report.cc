#include "plimsoll/runtime/memory_report.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/heap_census.h"
#include "plimsoll/alloc/process_malloc.h"
#include "plimsoll/alloc/size_class.h"
#include "plimsoll/container/json_writer.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stack_use.h"
#include "plimsoll/runtime/smaps.h"

// What the linker says of the program's data that has no file behind it.
extern "C" char __bss_start, _end;

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
// Weak: in a static program a reference would bring the C library's malloc beside the one that was
// linked.
extern "C" struct mallinfo2 mallinfo2() noexcept __attribute__((weak));
#endif

namespace plimsoll {
namespace {

using internal::Mapping;
using internal::Residency;

constexpr struct {
  std::string_view key, name;
} kKinds[kMemoryKinds] = {
    {"collected", "collected objects"},
    {"allocated", "allocated objects"},
    {"heap_idle", "heap, idle pages"},
    {"guarded", "heap, guarded samples"},
    {"stacks_live", "goroutine stacks"},
    {"stacks_kept", "goroutine stacks, kept"},
    {"malloc", "malloc"},
    {"thread_stacks", "thread stacks"},
    {"records", "records, signal stacks"},
    {"program_code", "program code"},
    {"program_data", "program data"},
    {"files", "mapped files"},
    {"other", "the kernel's mappings"},
    {"unaccounted", "unaccounted"},
};

std::string ReadSmall(const char* path) {
  char text[8192];
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t n = read(fd, text, sizeof text);
  close(fd);
  return n <= 0 ? std::string() : std::string(text, static_cast<size_t>(n));
}

uint64_t KernelRss() {
  // statm's counter is for each CPU apart, and summed up late.
  if (const uint64_t rss = internal::StatusBytes(ReadSmall("/proc/self/smaps_rollup"), "Rss")) {
    return rss;
  }
  unsigned long long size, resident;
  if (std::sscanf(ReadSmall("/proc/self/statm").c_str(), "%llu %llu", &size, &resident) != 2) {
    return 0;
  }
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// What malloc says that it holds, and the word for who said it.
std::pair<uint64_t, std::string_view> MallocTold() {
  switch (FindProcessMalloc()) {
    case ProcessMallocKind::kJemalloc:
      return {ProcessMallocResident().value_or(ByteCount(0)).value(), "jemalloc's stats.resident"};
    case ProcessMallocKind::kPlimsoll:
      return {0, "the heap above; here: what the C library has by brk"};
    case ProcessMallocKind::kOther:
      break;
  }
  if (base::kAsan || base::kTsan) return {0, "a sanitizer's: it does not tell"};
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  if (&mallinfo2 != nullptr) {
    const struct mallinfo2 info = mallinfo2();
    return {info.arena + info.hblkhd, "the C library's mallinfo2"};
  }
#endif
  return {0, "this malloc does not tell; here: what it has by brk"};
}

bool InStackSlab(uintptr_t address) {
  stack::Stack s;
  (void)sched::Stacks().FindGuard(address, &s);
  return s.hi != 0;
}

bool IsAnonymous(const Mapping& m) {
  return !m.shared && (m.name.empty() || m.name.starts_with("[anon"));
}

// Where the C library's arenas for threads begin: what lies below one may be the unused part of
// another.
constexpr uintptr_t kLibcArena = uintptr_t{64} << 20;

size_t ThreadStackBytes() {
  pthread_attr_t attr;
  size_t bytes = 0;
  if (pthread_getattr_default_np(&attr) != 0) return 0;
  (void)pthread_attr_getstacksize(&attr, &bytes);
  (void)pthread_attr_destroy(&attr);
  return bytes;
}

class Taker {
 public:
  explicit Taker(MemoryReport* report) : r_(*report) {}

  void Take() {
    std::vector<Mapping> mappings;
    (void)internal::ReadMappings("/proc/self/smaps", &mappings);
    r_.pagemap = pages_.ok();
    for (const Mapping& m : mappings) {
      r_.rss += m.rss;
      if (m.executable && m.name.starts_with('/')) programs_.insert(m.name);
    }
    const Mapping* before = nullptr;
    for (const Mapping& m : mappings) {
      Sort(m, before);
      before = &m;
    }
    TakeHeap();
    TakeStacks();
    TakeMalloc();
  }

 private:
  int64_t& Bytes(MemoryKind kind) { return r_.lines[static_cast<int>(kind)].bytes; }
  std::string& Detail(MemoryKind kind) { return r_.lines[static_cast<int>(kind)].detail; }

  // Puts a mapping on its line; what is anonymous and could be anybody's into anonymous_.
  void Sort(const Mapping& m, const Mapping* before) {
    const auto rss = static_cast<int64_t>(m.rss);
    if (IsAnonymous(m)) return SortAnonymous(m, before);
    if (m.name == "[heap]") {
      brk_ += rss;
    } else if (m.name == "[stack]") {
      Bytes(MemoryKind::kThreadStacks) += rss;
    } else if (m.name.starts_with('[')) {
      Bytes(MemoryKind::kOther) += rss;
    } else if (programs_.contains(m.name)) {
      Bytes(m.executable ? MemoryKind::kProgramCode : MemoryKind::kProgramData) += rss;
    } else {
      Bytes(MemoryKind::kFiles) += rss;
    }
  }

  void SortAnonymous(const Mapping& m, const Mapping* before) {
    auto rss = static_cast<int64_t>(m.rss);
    if (rss == 0) return;
    if (InHeap(m) || InStackSlab(m.begin)) {
      if (!r_.pagemap) {
        Bytes(InHeap(m) ? MemoryKind::kAllocated : MemoryKind::kStacksLive) += rss;
      } else {
        anonymous_ += rss;
      }
      return;
    }
    const auto bss_begin = reinterpret_cast<uintptr_t>(&__bss_start);
    const auto bss_end = reinterpret_cast<uintptr_t>(&_end);
    if (m.begin < bss_end && bss_begin < m.end) {
      // A mapping of the program's, though brk's may follow in it.
      const uintptr_t begin = std::max(m.begin, bss_begin), end = std::min(m.end, bss_end);
      const int64_t bss =
          r_.pagemap ? std::min(rss, static_cast<int64_t>(pages_.Bytes(begin, end - begin))) : rss;
      Bytes(MemoryKind::kProgramData) += bss;
      rss -= bss;
    } else if (before != nullptr && before->end == m.begin && !before->accessible &&
               IsAnonymous(*before) && m.begin % kLibcArena != 0) {
      // A thread's stack has the size that was asked for, and its guard is taken from that, or not.
      const size_t size = m.end - m.begin;
      const size_t guard = before->end - before->begin;
      const bool thread =
          thread_stack_ != 0 && (size == thread_stack_ || size + guard == thread_stack_);
      constexpr size_t kMostRecords = size_t{2} << 20;  // alloc/fixed_alloc.h
      if (thread || size <= kMostRecords) {
        Bytes(thread ? MemoryKind::kThreadStacks : MemoryKind::kRecords) += rss;
        thread_stacks_ += thread;
        return;
      }
    }
    anonymous_ += rss;
  }

  static bool InHeap(const Mapping& m) { return IsHeapRegion(m.begin) || IsHeapRegion(m.end - 1); }

  void TakeHeap() {
    HeapCensus census;
    const bool taken = TakeHeapCensus(
        &census,
        [](uintptr_t at, size_t bytes, void* pages) {
          return static_cast<Residency*>(pages)->Bytes(at, bytes);
        },
        &pages_);
    if (!taken) {
      Detail(MemoryKind::kAllocated) = "no memory to look at the heap";
      return;
    }
    SpanUse sums[2];
    for (size_t c = 0; c < alloc::kClassCount; ++c) {
      for (const bool collected : {true, false}) {
        const SpanUse& use = collected ? census.collected[c] : census.allocated[c];
        if (use.spans == 0) continue;
        sums[collected] += use;
        r_.classes.push_back({.collected = collected,
                              .object_bytes = alloc::kSizeClasses[c].size,
                              .objects = use.objects,
                              .objects_bytes = use.objects_bytes.value(),
                              .span_bytes = use.span_bytes.value(),
                              .resident = use.resident.value()});
      }
    }
    std::stable_sort(r_.classes.begin(), r_.classes.end(),
                     [](const auto& a, const auto& b) { return a.span_bytes > b.span_bytes; });
    PutSpans(MemoryKind::kCollected, sums[true]);
    PutSpans(MemoryKind::kAllocated, sums[false]);
    Bytes(MemoryKind::kGuarded) = static_cast<int64_t>(census.guarded.resident.value());
    Bytes(MemoryKind::kHeapIdle) = static_cast<int64_t>(census.idle_resident.value());
    Detail(MemoryKind::kHeapIdle) = "in no span, or coming or going; by pagemap";
    heap_ = static_cast<int64_t>(census.resident.value());
  }

  void PutSpans(MemoryKind kind, const SpanUse& use) {
    if (r_.pagemap) Bytes(kind) = static_cast<int64_t>(use.resident.value());
    Detail(kind) = absl::StrCat(use.objects, " objects of ", use.objects_bytes.value(),
                                " bytes in ", use.spans, " spans of ", use.span_bytes.value(),
                                r_.pagemap ? "; by pagemap" : "; all of the heap, by smaps");
  }

  void TakeStacks() {
    struct Sum {
      Residency& pages;
      uint64_t live_bytes = 0, kept_bytes = 0, live = 0, kept = 0;
    } sum{pages_};
    if (r_.pagemap) {
      sched::Stacks().ForEachSlot(
          [](const stack::Stack& s, void* arg) {
            Sum& to = *static_cast<Sum*>(arg);
            const uint64_t bytes = to.pages.Bytes(s.lo, s.hi - s.lo);
            // The record of whose it is lies at its top: without that nobody has it.
            if (bytes == 0) return;
            const bool top = to.pages.Bytes(s.hi - 1, 1) != 0;
            const bool live = top && sched::StackIsLive(s);
            (live ? to.live_bytes : to.kept_bytes) += bytes;
            ++(live ? to.live : to.kept);
          },
          &sum);
      Bytes(MemoryKind::kStacksLive) = static_cast<int64_t>(sum.live_bytes);
      Bytes(MemoryKind::kStacksKept) = static_cast<int64_t>(sum.kept_bytes);
    }
    const stack::StackStats stats = sched::Stacks().stats();
    Detail(MemoryKind::kStacksLive) =
        absl::StrCat(sum.live, " stacks; by pagemap; address space for ", stats.slots_made);
    Detail(MemoryKind::kStacksKept) =
        absl::StrCat(sum.kept, " free and in memory, ", stats.released, " free without");
    stacks_ = static_cast<int64_t>(sum.live_bytes + sum.kept_bytes);
  }

  void TakeMalloc() {
    const int64_t left = anonymous_ - heap_ - stacks_ + brk_;
    const auto [told, who] = MallocTold();
    r_.malloc_told = told;
    const int64_t most = told == 0 ? brk_ : static_cast<int64_t>(told);
    Bytes(MemoryKind::kMalloc) = std::min(most, std::max<int64_t>(left, 0));
    Bytes(MemoryKind::kUnaccounted) = left - Bytes(MemoryKind::kMalloc);
    Detail(MemoryKind::kMalloc) =
        told == 0 ? std::string(who)
                  : absl::StrCat(std::string(who), " tells ", told,
                                 static_cast<int64_t>(told) > left ? ", more than is left" : "");
    Detail(MemoryKind::kThreadStacks) =
        absl::StrCat("the first thread's and ", thread_stacks_, " more; by smaps");
    Detail(MemoryKind::kRecords) = "small mappings above a guard page; by smaps";
    Detail(MemoryKind::kProgramData) = "of the program and its libraries; by smaps";
    Detail(MemoryKind::kUnaccounted) = "anonymous memory that nobody told of";
  }

  MemoryReport& r_;
  Residency pages_;
  std::set<std::string> programs_;  // files of which something can be run
  const size_t thread_stack_ = ThreadStackBytes();
  int64_t brk_ = 0;
  int64_t anonymous_ = 0;
  int64_t heap_ = 0;
  int64_t stacks_ = 0;
  uint64_t thread_stacks_ = 0;
};

void TakeCgroup(MemoryReport& report) {
  // Not libcgroup's way: this may be a goroutine's stack.
  const container::Limits limits = container::Detect({.use_libcgroup = false});
  report.cgroup = container::ReadMemoryUsage(limits.memory);
  if (const auto tightest = limits.memory.Tightest()) report.cgroup_limit = tightest->value;
  report.process_limit = limits.mem_limit.value;
  report.process_limit_source = limits.mem_limit.source;
}

double Percent(int64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string_view MemoryKindName(MemoryKind kind) { return kKinds[static_cast<int>(kind)].name; }
std::string_view MemoryKindKey(MemoryKind kind) { return kKinds[static_cast<int>(kind)].key; }

int64_t MemoryReport::Accounted() const {
  int64_t sum = 0;
  for (const MemoryLine& line : lines) sum += line.bytes;
  return sum - of(MemoryKind::kUnaccounted).bytes;
}

MemoryReport TakeMemoryReport() {
  MemoryReport report;
  report.collector = gc::GetStats();
  const sched::Stats stats = sched::GetStats();
  report.goroutines = static_cast<uint64_t>(std::max<int64_t>(stats.goroutines, 0));
  report.threads = static_cast<uint64_t>(stats.threads);
  BlockingCall([&report] {
    Taker(&report).Take();
    report.kernel_rss = KernelRss();
    const std::string status = ReadSmall("/proc/self/status");
    report.page_tables = internal::StatusBytes(status, "VmPTE");
    report.swapped = internal::StatusBytes(status, "VmSwap");
    TakeCgroup(report);
  });
  return report;
}

std::string MemoryReport::Text() const {
  std::string out;
  const auto add = [&out](const char* format, auto... values) {
    char line[256];
    std::snprintf(line, sizeof line, format, values...);
    out += line;
  };
  const auto row = [&](int64_t bytes, uint64_t whole, std::string_view name,
                       const std::string& detail) {
    add("%16lld %6.1f %%  %-24.*s", static_cast<long long>(bytes), Percent(bytes, whole),
        static_cast<int>(name.size()), name.data());
    out += detail.empty() ? "\n" : "  " + detail + "\n";
  };
  add("RSS: %llu bytes, the sum of all mappings; the kernel's says %llu\n\n",
      static_cast<unsigned long long>(rss), static_cast<unsigned long long>(kernel_rss));
  for (int k = 0; k < kMemoryKinds; ++k) {
    if (lines[k].bytes == 0 && static_cast<MemoryKind>(k) != MemoryKind::kUnaccounted) continue;
    row(lines[k].bytes, rss, kKinds[k].name, lines[k].detail);
  }
  if (!pagemap) out += "\n/proc/self/pagemap cannot be read: heap and stacks by mapping\n";

  out += "\nThe heap by class: bytes in spans, in memory, of objects, objects, each\n";
  for (const MemoryClass& c : classes) {
    add("%16llu %14llu %14llu %10llu  ", static_cast<unsigned long long>(c.span_bytes),
        static_cast<unsigned long long>(c.resident),
        static_cast<unsigned long long>(c.objects_bytes),
        static_cast<unsigned long long>(c.objects));
    if (c.object_bytes == 0) {
      add("large, %s\n", c.collected ? "collected" : "allocated");
    } else {
      add("%llu, %s\n", static_cast<unsigned long long>(c.object_bytes),
          c.collected ? "collected" : "allocated");
    }
  }

  out += "\nThe collector\n";
  const auto fact = [&](const char* name, uint64_t value, const char* rest = "") {
    add("%16llu  %s%s\n", static_cast<unsigned long long>(value), name, rest);
  };
  fact("live after the last cycle", collector.live_bytes);
  fact("live, and allocated since", collector.heap_bytes);
  // UINT64_MAX: there is none.
  const auto bound = [&](const char* name, uint64_t value) {
    if (value == UINT64_MAX) {
      add("%16s  %s\n", "none", name);
    } else {
      fact(name, value);
    }
  };
  bound("goal: the next cycle begins before it", collector.goal_bytes);
  bound("limit for the heap", collector.limit_bytes);
  bound(process_limit_source == container::Source::kEnvironment
            ? "limit for the process, by GOMEMLIMIT"
        : process_limit_source == container::Source::kCgroup
            ? "limit for the process, by the cgroup"
            : "limit for the process",
        process_limit.value_or(UINT64_MAX));
  fact("external_bytes", collector.external_bytes);
  fact("cycles", collector.cycles);

  out += "\nBeside RSS\n";
  fact("page tables (VmPTE)", page_tables);
  fact("swapped out (VmSwap)", swapped);
  fact("goroutines", goroutines);

  if (cgroup.has_value()) {
    out += "\nThe cgroup, with every process in it: " + cgroup->source + "\n";
    const uint64_t all = cgroup->current;
    row(static_cast<int64_t>(all), all, "charged",
        cgroup_limit.has_value() ? absl::StrCat("limit ", *cgroup_limit) : "no limit");
    for (const container::MemoryPart& part : cgroup->parts) {
      if (part.bytes != 0) row(static_cast<int64_t>(part.bytes), all, part.name, "");
    }
    row(cgroup->Rest(), all, "rest", "what memory.stat does not tell, or not yet");
  }
  return out;
}

std::string MemoryReport::Json() const {
  container::JsonWriter json;
  json.BeginObject();
  json.Key("rss_bytes").Unsigned(rss);
  json.Key("kernel_rss_bytes").Unsigned(kernel_rss);
  json.Key("accounted_bytes").Number(Accounted());
  json.Key("pagemap").Bool(pagemap);
  json.Key("lines").BeginArray();
  for (int k = 0; k < kMemoryKinds; ++k) {
    json.BeginObject();
    json.Key("key").String(kKinds[k].key);
    json.Key("bytes").Number(lines[k].bytes);
    json.Key("detail").String(lines[k].detail);
    json.EndObject();
  }
  json.EndArray();
  json.Key("classes").BeginArray();
  for (const MemoryClass& c : classes) {
    json.BeginObject();
    json.Key("collected").Bool(c.collected);
    json.Key("object_bytes").Unsigned(c.object_bytes);
    json.Key("objects").Unsigned(c.objects);
    json.Key("objects_bytes").Unsigned(c.objects_bytes);
    json.Key("span_bytes").Unsigned(c.span_bytes);
    json.Key("resident_bytes").Unsigned(c.resident);
    json.EndObject();
  }
  json.EndArray();
  json.Key("collector").BeginObject();
  json.Key("live_bytes").Unsigned(collector.live_bytes);
  json.Key("heap_bytes").Unsigned(collector.heap_bytes);
  json.Key("goal_bytes").Unsigned(collector.goal_bytes);
  json.Key("limit_bytes");
  collector.limit_bytes == UINT64_MAX ? json.Null() : json.Unsigned(collector.limit_bytes);
  json.Key("external_bytes").Unsigned(collector.external_bytes);
  json.Key("cycles").Unsigned(collector.cycles);
  json.EndObject();
  json.Key("process_limit_bytes");
  process_limit.has_value() ? json.Unsigned(*process_limit) : json.Null();
  json.Key("process_limit_source").String(container::ToString(process_limit_source));
  json.Key("malloc_told_bytes").Unsigned(malloc_told);
  json.Key("page_tables_bytes").Unsigned(page_tables);
  json.Key("swapped_bytes").Unsigned(swapped);
  json.Key("goroutines").Unsigned(goroutines);
  json.Key("threads").Unsigned(threads);
  json.Key("cgroup");
  if (cgroup.has_value()) {
    json.BeginObject();
    json.Key("source").String(cgroup->source);
    json.Key("current_bytes").Unsigned(cgroup->current);
    json.Key("limit_bytes");
    cgroup_limit.has_value() ? json.Unsigned(*cgroup_limit) : json.Null();
    json.Key("parts").BeginObject();
    for (const container::MemoryPart& part : cgroup->parts)
      json.Key(part.name).Unsigned(part.bytes);
    json.EndObject();
    json.Key("rest_bytes").Number(cgroup->Rest());
    json.EndObject();
  } else {
    json.Null();
  }
  json.EndObject();
  return std::move(json).Take() + "\n";
}

}  // namespace plimsoll
