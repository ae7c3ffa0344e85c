#include "plimsoll/container/cgroup/json_value.h"

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool Value(JsonValue* value, int depth = 0) {
    if (depth > 64) return false;
    Space();
    if (rest_.empty()) return false;
    switch (rest_.front()) {
      case '{':
        return Object(value, depth);
      case '[':
        return Array(value, depth);
      case '"':
        value->type = JsonValue::Type::kString;
        return String(&value->text);
      case 't':
        return Word("true", JsonValue::Type::kBool, value);
      case 'f':
        return Word("false", JsonValue::Type::kBool, value);
      case 'n':
        return Word("null", JsonValue::Type::kNull, value);
      default:
        return Number(value);
    }
  }

  bool AtEnd() {
    Space();
    return rest_.empty();
  }

  std::string_view rest() const { return rest_; }

 private:
  void Space() {
    while (!rest_.empty() && std::string_view(" \t\r\n").find(rest_.front()) != std::string::npos) {
      rest_.remove_prefix(1);
    }
  }

  bool Take(char c) {
    Space();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool Word(std::string_view word, JsonValue::Type type, JsonValue* value) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    value->type = type;
    if (type == JsonValue::Type::kBool) value->text = std::string(word);
    return true;
  }

  bool Number(JsonValue* value) {
    const size_t end = std::min(rest_.find_first_not_of("+-.0123456789eE"), rest_.size());
    if (end == 0) return false;
    value->type = JsonValue::Type::kNumber;
    value->text = std::string(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return true;
  }

  // The four digits of a \u escape, as UTF-8.
  bool CodePoint(std::string* text) {
    unsigned code = 0;
    const std::string_view digits = rest_.substr(0, 4);
    if (digits.size() < 4) return false;
    for (const char c : digits) {
      const size_t value = std::string_view("0123456789abcdef").find(c);
      if (value == std::string_view::npos) return false;
      code = code * 16 + static_cast<unsigned>(value);
    }
    rest_.remove_prefix(4);
    if (code < 0x80) {
      *text += static_cast<char>(code);
    } else if (code < 0x800) {
      *text += static_cast<char>(0xC0 | code >> 6);
      *text += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      *text += static_cast<char>(0xE0 | code >> 12);
      *text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
      *text += static_cast<char>(0x80 | (code & 0x3F));
    }
    return true;
  }

  bool String(std::string* text) {
    rest_.remove_prefix(1);
    for (;;) {
      if (rest_.empty() || static_cast<unsigned char>(rest_.front()) < 0x20) return false;
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return true;
      if (c != '\\') {
        *text += c;
        continue;
      }
      if (rest_.empty()) return false;
      const char escaped = rest_.front();
      rest_.remove_prefix(1);
      constexpr std::string_view kFrom = "\"\\/bfnrt";
      constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
      if (const size_t i = kFrom.find(escaped); i != std::string_view::npos) {
        *text += kTo[i];
      } else if (escaped == 'u') {
        if (!CodePoint(text)) return false;
      } else {
        return false;
      }
    }
  }

  bool Array(JsonValue* value, int depth) {
    value->type = JsonValue::Type::kArray;
    rest_.remove_prefix(1);
    if (Take(']')) return true;
    do {
      if (!Value(&value->items.emplace_back(), depth + 1)) return false;
    } while (Take(','));
    return Take(']');
  }

  bool Object(JsonValue* value, int depth) {
    value->type = JsonValue::Type::kObject;
    rest_.remove_prefix(1);
    if (Take('}')) return true;
    do {
      Space();
      std::string key;
      if (!rest_.starts_with('"') || !String(&key) || !Take(':')) return false;
      if (!Value(&value->members[key], depth + 1)) return false;
    } while (Take(','));
    return Take('}');
  }

  std::string_view rest_;
};

}  // namespace

const JsonValue& JsonValue::operator[](const std::string& key) const {
  static const JsonValue kNull;
  const auto found = members.find(key);
  return found == members.end() ? kNull : found->second;
}

std::string JsonValue::Text() const {
  std::string out;
  switch (type) {
    case Type::kNull:
      return "null";
    case Type::kBool:
    case Type::kNumber:
      return text;
    case Type::kString:
      return Quote(text);
    case Type::kArray:
      for (const JsonValue& item : items) out += (out.empty() ? "[" : ",") + item.Text();
      return items.empty() ? "[]" : out + "]";
    case Type::kObject:
      for (const auto& [key, member] : members) {
        out += Concat(out.empty() ? "{" : ",", Quote(key), ":", member.Text());
      }
      return members.empty() ? "{}" : out + "}";
  }
  return out;
}

absl::StatusOr<JsonValue> ParseJson(std::string_view text) {
  Reader reader(text);
  JsonValue value;
  if (!reader.Value(&value) || !reader.AtEnd()) {
    return absl::InvalidArgumentError(Concat("no JSON at ", Quote(reader.rest())));
  }
  return value;
}

}  // namespace plimsoll::container
