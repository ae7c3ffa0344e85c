// Reads JSON in tests: the expectations of a layout, and what we print.
#ifndef PLIMSOLL_CONTAINER_CGROUP_JSON_VALUE_H_
#define PLIMSOLL_CONTAINER_CGROUP_JSON_VALUE_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace plimsoll::container {

// A value of any type. Numbers keep their text, so that 2^63 is not rounded.
struct JsonValue {
  enum class Type { kNull, kBool, kNumber, kString, kArray, kObject };
  Type type = Type::kNull;
  std::string text = {};  // of a number, a string, "true" or "false"
  std::vector<JsonValue> items = {};
  std::map<std::string, JsonValue> members = {};

  bool operator==(const JsonValue&) const = default;

  // The member, or null.
  const JsonValue& operator[](const std::string& key) const;

  // As it was written, without spaces: for the message of a failed test.
  std::string Text() const;
};

// Strict, and stricter in one thing: a \u escape has small letters, and makes no pairs.
absl::StatusOr<JsonValue> ParseJson(std::string_view text);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_JSON_VALUE_H_
