#include "plimsoll/alloc/base/debug_text.h"

#include <atomic>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/environment.h"
#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll::base {
namespace {

bool IsKey(std::string_view name) {
  for (const DebugKey& key : kDebugKeys) {
    if (key.name == name) return true;
  }
  return false;
}

constinit std::atomic<bool> told_unknown{false};

}  // namespace

std::string_view TakeUntil(std::string_view& text, char until) {
  const size_t at = text.find(until);
  const std::string_view front = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return front;
}

DebugText DebugText::FromEnvironment() {
  const char* text = base::FromEnvironment("PLIMSOLL_DEBUG");
  return DebugText(text == nullptr ? "" : text);
}

std::optional<std::string_view> DebugText::Find(std::string_view key) const {
  PLIMSOLL_CHECK(IsKey(key), "a key that kDebugKeys does not have");
  std::optional<std::string_view> found;
  for (std::string_view rest = text_; !rest.empty();) {
    std::string_view value = TakeUntil(rest, ',');
    const bool pair = value.find('=') != std::string_view::npos;
    if (TakeUntil(value, '=') == key && pair) found = value;
  }
  return found;
}

bool DebugText::Flag(std::string_view key) const {
  constexpr std::string_view kWords[] = {"0", "1"};
  return Choice(key, kWords) == 1;
}

size_t DebugText::Choice(std::string_view key, std::span<const std::string_view> words) const {
  const std::optional<std::string_view> value = Find(key);
  if (!value.has_value()) return 0;
  RawText wanted;
  wanted.Add("one of ");
  for (size_t i = 0; i < words.size(); ++i) {
    if (*value == words[i]) return i;
    wanted.Add(i == 0 ? "" : ", ");
    wanted.Add(words[i]);
  }
  RawText instead;
  instead.Add(words[0]);
  instead.Add(" is taken");
  RefuseDebugValue(key, *value, wanted.view(), instead.view());
  return 0;
}

uint64_t DebugText::Number(std::string_view key, uint64_t most, uint64_t otherwise) const {
  const std::optional<std::string_view> value = Find(key);
  if (!value.has_value()) return otherwise;
  uint64_t number = 0;
  bool good = !value->empty();
  for (const char c : *value) {
    const auto digit = static_cast<uint64_t>(c - '0');  // above 9 for what is no digit
    good = good && digit <= 9 && number <= (most - (digit < most ? digit : most)) / 10;
    if (good) number = number * 10 + digit;
  }
  if (good && number <= most) return number;
  RawText wanted, instead;
  wanted.Add("a number from 0 to ");
  wanted.Add(most);
  instead.Add(otherwise);
  instead.Add(" is taken");
  RefuseDebugValue(key, *value, wanted.view(), instead.view());
  return otherwise;
}

bool DebugText::Unknown(RawText& line) const {
  bool any = false;
  for (std::string_view rest = text_; !rest.empty();) {
    const std::string_view item = TakeUntil(rest, ',');
    std::string_view value = item;
    const std::string_view key = TakeUntil(value, '=');
    const bool pair = item.size() > key.size();
    if (item.empty() || (pair && IsKey(key))) continue;
    line.Add(any ? ", " : "PLIMSOLL_DEBUG: ");
    line.Add(Quoted{pair ? key : item});
    if (!pair) line.Add(" without a value");
    any = true;
  }
  if (!any) return false;
  line.Add(": not understood and ignored; there are");
  for (const DebugKey& key : kDebugKeys) {
    line.Add(" ");
    line.Add(key.name);
    line.Add("=");
    line.Add(key.values);
  }
  return true;
}

void DebugText::TellUnknown() const {
  if (told_unknown.exchange(true, std::memory_order_relaxed)) return;
  if (RawText line; Unknown(line)) RawLog("plimsoll: ", line.view());
}

void RefuseDebugValue(std::string_view key, std::string_view value, std::string_view wanted,
                      std::string_view instead) {
  RawLog("plimsoll: PLIMSOLL_DEBUG: ", key, "=", Quoted{value}, " is not ", wanted, "; ", instead);
}

}  // namespace plimsoll::base
