// Fuzzes the reader of /proc/self/cgroup.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/cgroup/diagnostic.h"
#include "plimsoll/container/cgroup/self_cgroup.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using plimsoll::container::CgroupLine;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  plimsoll::container::DiagnosticList list;
  const std::vector<CgroupLine> lines = plimsoll::container::ParseSelfCgroup(text, list);
  const std::vector<plimsoll::container::Diagnostic> diagnostics = list.Take();
  const auto newlines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  if (lines.size() > newlines + 1) abort();
  // Every line is used or told.
  if (!text.empty() && lines.empty() && diagnostics.empty()) abort();
  if (lines.size() < newlines && diagnostics.empty()) abort();
  for (const CgroupLine& line : lines) {
    if (!line.path.starts_with('/') || line.path.find('\n') != std::string::npos) abort();
    if (line.path.find('\0') != std::string::npos) abort();
    if (line.v2 && !line.controllers.empty()) abort();
    if (text.find(line.path) == std::string_view::npos) abort();
    const std::optional<std::string> before = plimsoll::container::PathBeforeDeletion(line.path);
    if (before.has_value() && (before->size() + 10 != line.path.size() || before->size() < 2))
      abort();
  }
  return 0;
}
