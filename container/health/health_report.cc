#include "plimsoll/container/health/health_report.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "plimsoll/container/json_string.h"

namespace plimsoll::container {
namespace {

std::string_view Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

void AppendJsonMember(std::string_view name, std::string_view value, std::string* out) {
  AppendJsonString(name, out);
  out->push_back(':');
  AppendJsonString(value, out);
}

}  // namespace

std::string_view AspectName(Aspect aspect) {
  switch (aspect) {
    case Aspect::kStartup:
      return "startup";
    case Aspect::kLive:
      return "live";
    case Aspect::kReady:
      return "ready";
  }
  return "unknown";
}

std::string_view PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kStarting:
      return "starting";
    case Phase::kRunning:
      return "running";
    case Phase::kDraining:
      return "draining";
  }
  return "unknown";
}

bool HealthReport::ok() const {
  return std::ranges::all_of(results, [](const ProbeResult& r) { return r.status.ok(); });
}

std::string HealthReport::Text(bool verbose) const {
  const bool passed = ok();
  if (passed && !verbose) return "ok\n";
  std::string out;
  for (const ProbeResult& result : results) {
    if (result.status.ok()) {
      absl::StrAppend(&out, "[+]", result.name, " ok\n");
    } else {
      absl::StrAppend(&out, "[-]", result.name, " failed: ", OneLine(Message(result.status)), "\n");
    }
  }
  out.append(AspectName(aspect)).append(passed ? " check passed\n" : " check failed\n");
  return out;
}

std::string HealthReport::Json() const {
  std::string out = "{";
  AppendJsonMember("aspect", AspectName(aspect), &out);
  out.append(ok() ? ",\"ok\":true," : ",\"ok\":false,");
  AppendJsonMember("phase", PhaseName(phase), &out);
  out.append(",\"probes\":[");
  for (const ProbeResult& result : results) {
    if (out.back() == '}') out.push_back(',');
    out.push_back('{');
    AppendJsonMember("name", result.name, &out);
    if (result.status.ok()) {
      out.append(",\"ok\":true}");
      continue;
    }
    out.append(",\"ok\":false,");
    AppendJsonMember("code", absl::StatusCodeToString(result.status.code()), &out);
    out.push_back(',');
    AppendJsonMember("why", Message(result.status), &out);
    out.push_back('}');
  }
  out.append("]}\n");
  return out;
}

}  // namespace plimsoll::container
