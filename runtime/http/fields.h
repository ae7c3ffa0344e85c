// Fields are the header lines of one message, in the order they came, as views into its bytes.
//
//   if (std::optional<std::string_view> type = request.fields.Find("content-type")) ...
//
// Lifetime: of the buffer that was parsed; inside a handler, until the handler returns.
// Names:    compared without regard to case, as RFC 9110 5.1 says. Values have no blanks around
//           them.
#ifndef PLIMSOLL_RUNTIME_HTTP_FIELDS_H_
#define PLIMSOLL_RUNTIME_HTTP_FIELDS_H_

#include <cstddef>
#include <optional>
#include <string_view>

#include "absl/container/inlined_vector.h"

namespace plimsoll::http {

struct Field {
  std::string_view name;
  std::string_view value;
};

// True when both are the same but for the case of ASCII letters.
bool EqualsIgnoringCase(std::string_view a, std::string_view b);

// True when `text` is a token (RFC 9110 5.6.2): a method or a field name may be it. Not empty.
bool IsToken(std::string_view text);

// True when `text` may be a field's value: no control character but a tab, so no line end either.
bool IsFieldValue(std::string_view text);

// Calls visit(element) for each element of a comma-separated list, blanks removed, empty ones
// skipped.
template <typename Visit>
void ForEachListElement(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    std::string_view element = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    const size_t first = element.find_first_not_of(" \t");
    if (first == std::string_view::npos) continue;
    element = element.substr(first, element.find_last_not_of(" \t") - first + 1);
    visit(element);
  }
}

class Fields {
 public:
  // The value of the first field of that name.
  std::optional<std::string_view> Find(std::string_view name) const;

  size_t size() const { return fields_.size(); }
  const Field* begin() const { return fields_.data(); }
  const Field* end() const { return fields_.data() + fields_.size(); }

  void Add(std::string_view name, std::string_view value) { fields_.push_back({name, value}); }
  void Clear() { fields_.clear(); }

 private:
  absl::InlinedVector<Field, 16> fields_;  // a browser sends about a dozen
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_FIELDS_H_
