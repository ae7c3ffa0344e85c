#include "plimsoll/runtime/sched/trace_buffer.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <map>
#include <numeric>
#include <string_view>
#include <vector>

namespace plimsoll::sched {
namespace {

// What happens on no P: a foreign thread readies one, sysmon ends a slice.
constexpr int32_t kElsewhere = 100'000;
constexpr int32_t kWorld = kElsewhere + 1;
constexpr int32_t kCollector = kElsewhere + 2;

class Picture {
 public:
  std::string Draw(absl::Span<const TraceEvent> told) {
    // By time, and what is told at one time in the order in which it was told.
    std::vector<size_t> order(told.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return told[a].when_ns != told[b].when_ns ? told[a].when_ns < told[b].when_ns : a < b;
    });
    std::vector<TraceEvent> events;
    events.reserve(told.size());
    for (const size_t at : order) events.push_back(told[at]);
    if (!events.empty()) began_ns_ = events.front().when_ns;
    for (const TraceEvent& e : events) Add(e);
    const int64_t end = events.empty() ? 0 : events.back().when_ns;
    while (!running_.empty()) EndBar(running_.begin()->first, end, "end of the trace");
    for (const int32_t row : rows_) {
      Line(R"({"ph":"M","pid":1,"tid":%d,"name":"thread_name","args":{"name":"%s"}})", row,
           NameOfRow(row).c_str());
    }
    return "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n" + text_ + "\n]}\n";
  }

 private:
  struct Running {
    uint64_t g;
    int64_t since_ns;
    const char* doing = "";
  };

  static std::string NameOfRow(int32_t row) {
    return row == kElsewhere   ? "no P"
           : row == kWorld     ? "the world"
           : row == kCollector ? "collector"
                               : "P " + std::to_string(row);
  }

  void Add(const TraceEvent& e) {
    const int32_t row = Row(e.kind == TraceKind::kStop || e.kind == TraceKind::kStart ? kWorld
                            : e.kind >= TraceKind::kGcBegin                           ? kCollector
                                                                                      : e.proc);
    switch (e.kind) {
      case TraceKind::kRun:
        BeginBar(row, e);
        break;
      case TraceKind::kPark:
        EndBar(row, e.when_ns, std::string(WaitReasonText(e.reason)));
        break;
      case TraceKind::kYield:
      case TraceKind::kEnd:
      case TraceKind::kPreempt:
        EndBar(row, e.when_ns, std::string(TraceKindText(e.kind)));
        break;
      case TraceKind::kSpawn:
      case TraceKind::kReady:
        Point(row, e, "goroutine", e.g);
        // The arrow's tail; its head is the next run of g.
        Line(R"({"ph":"s","pid":1,"tid":%d,"ts":%s,"cat":"wake","name":"%s","id":%)" PRIu64 "}",
             row, Time(e.when_ns).c_str(), Name(e.kind), ++arrows_);
        arrow_to_[e.g] = {arrows_, e.kind};
        break;
      case TraceKind::kSteal:
        Point(row, e, "from P", e.other);
        break;
      case TraceKind::kHandOff:
        EndBar(row, e.when_ns, "hand-off");
        Point(row, e, "to thread", static_cast<uint64_t>(e.thread));
        if (e.g != 0) BeginBar(row, e);
        break;
      case TraceKind::kCall:
        EndBar(row, e.when_ns, Name(e.kind));
        running_[row] = {e.g, e.when_ns, " in a blocking call"};
        break;
      case TraceKind::kReturn:
        Return(row, e);
        break;
      case TraceKind::kRetake:
        EndBar(row, e.when_ns, Name(e.kind));
        Point(row, e, "P", static_cast<uint64_t>(e.proc));
        break;
      case TraceKind::kTimer:
        Point(row, e, "us late", e.count);
        break;
      case TraceKind::kPoll:
        Point(row, e, "goroutines", e.count);
        break;
      case TraceKind::kStop:
        stopped_ns_ = e.when_ns;
        break;
      case TraceKind::kStart:
        // (The trace may begin in between.)
        if (stopped_ns_ != 0) Bar(row, stopped_ns_, e, "stopped: ", StopReasonText(e.stop));
        stopped_ns_ = 0;
        break;
      case TraceKind::kGcBegin:
        cycle_ns_ = e.when_ns;
        break;
      case TraceKind::kGcMarked:
        Point(row, e, "cycle", e.other);
        break;
      case TraceKind::kGcEnd:
        if (cycle_ns_ != 0) Bar(row, cycle_ns_, e, "cycle ", std::to_string(e.other));
        cycle_ns_ = 0;
        break;
      case TraceKind::kCount:
        break;
    }
  }

  // From then until e.
  void Bar(int32_t row, int64_t since_ns, const TraceEvent& e, const char* what,
           std::string_view which) {
    Line(R"({"ph":"X","pid":1,"tid":%d,"ts":%s,"dur":%s,"name":"%s%s"})", row,
         Time(since_ns).c_str(), Micros(e.when_ns - since_ns).c_str(), what,
         std::string(which).c_str());
  }

  // From a blocking call. Where the P that it left is not its own any more, nobody may have told.
  void Return(int32_t row, const TraceEvent& e) {
    const int32_t left = Row(static_cast<int32_t>(e.other));
    if (const auto bar = running_.find(left); bar != running_.end() && bar->second.g == e.g) {
      EndBar(left, e.when_ns, Name(e.count != 0 ? e.kind : TraceKind::kRetake));
    }
    if (e.proc >= 0) {
      BeginBar(row, e);
    } else {
      Point(row, e, "goroutine", e.g);
    }
  }

  void BeginBar(int32_t row, const TraceEvent& e) {
    EndBar(row, e.when_ns, "");
    running_[row] = {e.g, e.when_ns};
    const auto arrow = arrow_to_.find(e.g);
    if (arrow == arrow_to_.end()) return;
    Line(R"({"ph":"f","bp":"e","pid":1,"tid":%d,"ts":%s,"cat":"wake","name":"%s","id":%)" PRIu64
         "}",
         row, Time(e.when_ns).c_str(), Name(arrow->second.kind), arrow->second.id);
    arrow_to_.erase(arrow);
  }

  void EndBar(int32_t row, int64_t now, const std::string& why) {
    const auto bar = running_.find(row);
    if (bar == running_.end()) return;
    Line(R"({"ph":"X","pid":1,"tid":%d,"ts":%s,"dur":%s,"name":"goroutine %)" PRIu64
         R"(%s","args":{"left":"%s"}})",
         row, Time(bar->second.since_ns).c_str(), Micros(now - bar->second.since_ns).c_str(),
         bar->second.g, bar->second.doing, why.c_str());
    running_.erase(bar);
  }

  void Point(int32_t row, const TraceEvent& e, const char* what, uint64_t number) {
    Line(R"({"ph":"i","s":"t","pid":1,"tid":%d,"ts":%s,"name":"%s","args":{"%s":%)" PRIu64 "}}",
         row, Time(e.when_ns).c_str(), Name(e.kind), what, number);
  }

  int32_t Row(int32_t proc) {
    const int32_t row = proc < 0 ? kElsewhere : proc;
    if (std::find(rows_.begin(), rows_.end(), row) == rows_.end()) rows_.push_back(row);
    return row;
  }

  static const char* Name(TraceKind kind) { return TraceKindText(kind).data(); }
  static std::string Micros(int64_t ns) {
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64 ".%03d", ns / 1000, static_cast<int>(ns % 1000));
    return text;
  }
  std::string Time(int64_t ns) const { return Micros(ns - began_ns_); }

  template <typename... Args>
  void Line(const char* format, Args... args) {
    char line[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    const int n = snprintf(line, sizeof(line), format, args...);
#pragma GCC diagnostic pop
    if (!text_.empty()) text_ += ",\n";
    text_.append(line, std::min(static_cast<size_t>(n), sizeof(line) - 1));
  }

  struct Arrow {
    uint64_t id;
    TraceKind kind;
  };
  int64_t began_ns_ = 0;
  int64_t stopped_ns_ = 0;  // since when the world stands still; 0: it does not
  int64_t cycle_ns_ = 0;    // likewise, of the collector's cycle
  uint64_t arrows_ = 0;
  std::map<int32_t, Running> running_;  // by row
  std::map<uint64_t, Arrow> arrow_to_;  // by goroutine: its last spawn or ready
  std::vector<int32_t> rows_;
  std::string text_;
};

}  // namespace

TraceBuffer::TraceBuffer(size_t events)
    : capacity_(events), events_(std::make_unique_for_overwrite<TraceEvent[]>(events)) {}

absl::Span<const TraceEvent> TraceBuffer::events() const {
  return {events_.get(), std::min(capacity_, next_.load(std::memory_order_relaxed))};
}

uint64_t TraceBuffer::lost() const {
  const size_t all = next_.load(std::memory_order_relaxed);
  return all > capacity_ ? all - capacity_ : 0;
}

std::string TracePicture(absl::Span<const TraceEvent> events) { return Picture().Draw(events); }

}  // namespace plimsoll::sched
