#include "plimsoll/container/cgroup/diagnostic.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {

void DiagnosticList::Add(std::string_view code, std::string_view file, std::string_view field,
                         std::string_view seen, std::string_view why) {
  auto count = std::find_if(counts_.begin(), counts_.end(),
                            [code](const Count& c) { return c.code == code; });
  if (count == counts_.end()) {
    counts_.push_back({.code = std::string(code)});
    count = counts_.end() - 1;
  }
  if (++count->added > kKept) return;
  Diagnostic diagnostic{.code = std::string(code),
                        .file = std::string(file),
                        .field = std::string(field),
                        .seen = seen.data() == nullptr ? "" : Quote(seen)};
  diagnostic.text = Shown(diagnostic.file) + ":";
  if (!diagnostic.field.empty()) diagnostic.text += " " + diagnostic.field;
  if (!diagnostic.seen.empty()) diagnostic.text += " " + diagnostic.seen;
  diagnostic.text += Concat(" ", why);
  kept_.push_back(std::move(diagnostic));
}

std::vector<Diagnostic> DiagnosticList::Take() {
  for (const Count& count : counts_) {
    if (count.added <= kKept) continue;
    kept_.push_back(
        {.code = count.code, .text = Concat("and ", count.added - kKept, " more of ", count.code)});
  }
  counts_.clear();
  return std::exchange(kept_, {});
}

}  // namespace plimsoll::container
