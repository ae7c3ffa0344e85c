#include "plimsoll/container/cgroup/pressure_formats.h"

#include <limits>

#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

// The next line without its newline; nullopt at the end, or before a line that has none: a cut
// number looks like a smaller one.
std::optional<std::string_view> TakeLine(std::string_view& text) {
  const size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

// The next word, after any blanks; empty at the end.
std::string_view TakeWord(std::string_view& line) {
  const size_t start = line.find_first_not_of(' ');
  if (start == std::string_view::npos) {
    line = {};
    return {};
  }
  const size_t end = line.find(' ', start);
  const std::string_view word = line.substr(start, end - start);
  line.remove_prefix(end == std::string_view::npos ? line.size() : end);
  return word;
}

std::optional<uint64_t> Number(std::string_view word) {
  uint64_t value;
  if (!ParseDigits(word, &value)) return std::nullopt;
  return value;
}

// Counters that would overflow are nonsense, and must not come back as small ones.
std::optional<uint64_t> MicrosecondsAsNs(std::optional<uint64_t> us) {
  if (!us || *us > std::numeric_limits<uint64_t>::max() / 1000) return std::nullopt;
  return *us * 1000;
}

// "total=" of the line that starts with `kind`.
std::optional<uint64_t> PsiTotalNs(std::string_view text, std::string_view kind) {
  while (std::optional<std::string_view> line = TakeLine(text)) {
    if (TakeWord(*line) != kind) continue;
    for (std::string_view word; !(word = TakeWord(*line)).empty();) {
      constexpr std::string_view kTotal = "total=";
      if (word.starts_with(kTotal)) return MicrosecondsAsNs(Number(word.substr(kTotal.size())));
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> FlatKeyed(std::string_view text, std::string_view key) {
  while (std::optional<std::string_view> line = TakeLine(text)) {
    if (TakeWord(*line) != key) continue;
    const std::optional<uint64_t> value = Number(TakeWord(*line));
    return TakeWord(*line).empty() ? value : std::nullopt;
  }
  return std::nullopt;
}

std::optional<CpuStat> ParseCpuStat(std::string_view text) {
  const std::optional<uint64_t> periods = FlatKeyed(text, "nr_periods");
  const std::optional<uint64_t> throttled = FlatKeyed(text, "nr_throttled");
  std::optional<uint64_t> ns = MicrosecondsAsNs(FlatKeyed(text, "throttled_usec"));
  if (!ns) ns = FlatKeyed(text, "throttled_time");
  if (!periods || !throttled || !ns) return std::nullopt;
  return CpuStat{*periods, *throttled, *ns};
}

std::optional<Psi> ParsePsi(std::string_view text) {
  const std::optional<uint64_t> some = PsiTotalNs(text, "some");
  if (!some) return std::nullopt;
  return Psi{*some, PsiTotalNs(text, "full").value_or(0)};
}

std::optional<MemoryEvents> ParseMemoryEvents(std::string_view text) {
  const std::optional<uint64_t> max = FlatKeyed(text, "max");
  if (!max) return std::nullopt;
  return MemoryEvents{FlatKeyed(text, "high").value_or(0), *max, FlatKeyed(text, "oom").value_or(0),
                      FlatKeyed(text, "oom_kill").value_or(0)};
}

std::optional<SchedStat> ParseSchedStat(std::string_view text) {
  std::optional<std::string_view> line = TakeLine(text);
  if (!line) return std::nullopt;
  const std::optional<uint64_t> run = Number(TakeWord(*line));
  const std::optional<uint64_t> wait = Number(TakeWord(*line));
  if (!run || !wait) return std::nullopt;
  return SchedStat{*run, *wait};
}

std::optional<uint64_t> ParseIdleTicks(std::string_view text, const cpu_set_t& cpus) {
  std::optional<uint64_t> sum;
  while (std::optional<std::string_view> line = TakeLine(text)) {
    std::string_view name = TakeWord(*line);
    if (!name.starts_with("cpu")) break;  // the CPUs come first
    name.remove_prefix(3);
    const std::optional<uint64_t> cpu = Number(name);  // "cpu" alone is the sum of all
    if (!cpu || *cpu >= CPU_SETSIZE || !CPU_ISSET(*cpu, &cpus)) continue;
    for (int skipped = 0; skipped < 3; ++skipped) (void)TakeWord(*line);  // user, nice, system
    const std::optional<uint64_t> idle = Number(TakeWord(*line));
    const std::optional<uint64_t> iowait = Number(TakeWord(*line));
    if (!idle || !iowait) continue;
    const uint64_t ticks = *idle + *iowait;
    sum = sum.value_or(0) + ticks;
  }
  return sum;
}

}  // namespace plimsoll::container
