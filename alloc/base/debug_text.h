// DebugText reads PLIMSOLL_DEBUG: "key=value,key=value". It is the only parser of it.
//
//   const base::DebugText debug = base::DebugText::FromEnvironment();
//   if (debug.Flag("gctrace")) ...
//   const uint64_t ms = debug.Number("schedtrace", /*most=*/86'400'000, /*otherwise=*/0);
//
// Keys:      kDebugKeys has all of them, whoever reads them; asking for another is a bug. Where a
//            key stands twice the last one holds, as in Go's GODEBUG.
// Errors:    a value that is not understood is told on stderr, with the key, the value and what was
//            taken instead. A key that nobody knows is told once a process, by whoever calls
//            TellUnknown first, with the keys that there are.
// Rights:    a program with more rights than who started it heeds no key: see environment.h.
// Memory:    none, and no call but the kernel's: it runs beneath malloc, and before libc is set up.
// Threads:   any.
#ifndef PLIMSOLL_ALLOC_BASE_DEBUG_TEXT_H_
#define PLIMSOLL_ALLOC_BASE_DEBUG_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace plimsoll::base {

struct DebugKey {
  std::string_view name, values;  // values: for whoever asked for a key that is none
};
inline constexpr DebugKey kDebugKeys[] = {
    {"checkmark", "0|1"},
    {"gcfault", "NAME"},
    {"gcstoptheworld", "0|1"},
    {"gctrace", "0|1"},
    {"heap", "junk+canary+quarantine|all"},
    {"heapguard", "SAMPLES"},
    {"heapquarantine", "BYTES"},
    {"heapsample", "BYTES"},
    {"heapthread", "on|off"},
    {"migrate", "default|always"},
    {"preempt", "on|off"},
    {"schedtrace", "MS"},
    {"seed", "N"},  // of tests in seeded mode
    {"stackreport", "0|1"},
    {"stacktrim", "on|off"},
    {"verify", "0|1"},
};

class DebugText {
 public:
  // `text` has to outlive it.
  constexpr explicit DebugText(std::string_view text) : text_(text) {}
  static DebugText FromEnvironment();

  // The value of `key`; nullopt: it is not there.
  std::optional<std::string_view> Find(std::string_view key) const;
  // Whether its value is 1.
  bool Flag(std::string_view key) const;
  // Which of `words` its value is, as an index; 0, the default, where it is not there or none.
  size_t Choice(std::string_view key, std::span<const std::string_view> words) const;
  // A number of at most `most`; else `otherwise`.
  uint64_t Number(std::string_view key, uint64_t most, uint64_t otherwise) const;

  // Tells of keys that are none, and of items that are not KEY=VALUE; once a process.
  void TellUnknown() const;
  // What TellUnknown would say; false: nothing.
  bool Unknown(class RawText& line) const;

 private:
  std::string_view text_;
};

// Says that the value of `key` is not `wanted`, and what is done: "1 is taken".
void RefuseDebugValue(std::string_view key, std::string_view value, std::string_view wanted,
                      std::string_view instead);

// The front of `text` up to `until`, taken off it.
std::string_view TakeUntil(std::string_view& text, char until);

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_DEBUG_TEXT_H_
