// Fuzzes the readers of single values, and the writers that show what was read. The first byte says
// which; the rest is the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "plimsoll/container/cgroup/cpu_max.h"
#include "plimsoll/container/cgroup/json_value.h"
#include "plimsoll/container/cgroup/memory_max.h"
#include "plimsoll/container/cgroup/mountinfo.h"
#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/go_env.h"
#include "plimsoll/container/json_writer.h"

namespace plimsoll::container {
namespace {

void Require(bool fact) {
  if (!fact) abort();
}

// What was understood, written again, is understood alike: nothing is lost or made up.
void CpuMaxRoundTrips(std::string_view text) {
  const absl::StatusOr<CpuMax> max = ParseCpuMax(text);
  if (!max.ok()) return Require(!max.status().message().empty());
  Require(max->period_us > 0 && text.ends_with('\n'));
  if (max->quota_us.has_value()) Require(*max->quota_us > 0);
  const std::string quota = max->quota_us.has_value() ? Concat(*max->quota_us) : "max";
  const absl::StatusOr<CpuMax> again = ParseCpuMax(Concat(quota, " ", max->period_us, "\n"));
  Require(again.ok() && again->quota_us == max->quota_us && again->period_us == max->period_us);
  if (const std::optional<Fraction> cpus = max->Cpus(); cpus.has_value()) {
    Require(*cpus == Fraction{*max->quota_us, max->period_us});
    FormatFraction(cpus->num, cpus->den);
  }
}

void MaxRoundTrips(std::string_view text) {
  const absl::StatusOr<std::optional<uint64_t>> max = ParseMax(text);
  if (!max.ok()) return Require(!max.status().message().empty());
  const std::string shown = max->has_value() ? Concat(**max) : "max";
  Require(*ParseMax(shown + "\n") == *max);
  if (max->has_value()) FormatBytes(**max);
}

void StatLineIsOneThatIsThere(std::string_view text) {
  constexpr std::string_view kKey = "hierarchical_memory_limit";
  const absl::StatusOr<std::optional<uint64_t>> limit = ParseStatLine(text, kKey);
  if (limit.ok() && limit->has_value()) Require(text.find(kKey) != std::string_view::npos);
  if (text.find(kKey) == std::string_view::npos) Require(limit.ok() && !limit->has_value());
}

// Whatever the bytes, the JSON is valid.
void JsonIsValid(std::string_view text) {
  JsonWriter json;
  json.BeginObject();
  json.Key(text).String(text);
  json.EndObject();
  Require(ParseJson(std::move(json).Take()).ok());
}

void One(uint8_t which, std::string_view text) {
  switch (which % 9) {
    case 0:
      return CpuMaxRoundTrips(text);
    case 1: {
      const absl::StatusOr<int64_t> quota = ParseCfsQuota(text);
      return Require(!quota.ok() || *quota >= 0);
    }
    case 2: {
      const absl::StatusOr<int64_t> period = ParseCfsPeriod(text);
      return Require(!period.ok() || *period > 0);
    }
    case 3:
      return MaxRoundTrips(text);
    case 4:
      return StatLineIsOneThatIsThere(text);
    case 5: {
      const absl::StatusOr<int> procs = ParseGoMaxProcs(text);
      return Require(!procs.ok() || *procs > 0);
    }
    case 6: {
      const absl::StatusOr<int64_t> limit = ParseGoMemLimit(text);
      return Require(!limit.ok() || *limit >= 0);
    }
    case 7:
      return Require(UnescapeOctal(text).size() <= text.size());
    default:
      return JsonIsValid(text);
  }
}

}  // namespace
}  // namespace plimsoll::container

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  plimsoll::container::One(static_cast<uint8_t>(data[0] - '0'),
                           {reinterpret_cast<const char*>(data + 1), size - 1});
  return 0;
}
