// RawLog writes one line to stderr with no memory but the stack and no call but the kernel's.
//
//   RawLog("plimsoll: no thread could be made: ", ErrnoName(error), "; ", count, " waiting");
//
// Length:   a line is cut at 1,000 bytes and then ends in "...".
// Threads:  any, signal handlers too: the line is one write, so lines do not mix.
// SIGPIPE:  none. Where nobody reads stderr any more the line is lost, and the process lives: its
//           log is not its work. What a program itself writes to a closed stdout or stderr ends it,
//           as in Go and by the kernel's default, so that "program | head" ends; a write to a
//           net::Conn never does, it is kUnavailable.
#ifndef PLIMSOLL_ALLOC_BASE_RAW_LOG_H_
#define PLIMSOLL_ALLOC_BASE_RAW_LOG_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plimsoll::base {

// A number to be written as 0x….
struct Hex {
  template <std::integral T>
  explicit Hex(T v) : value(static_cast<uint64_t>(v)) {}
  explicit Hex(const void* p) : value(reinterpret_cast<uintptr_t>(p)) {}
  uint64_t value;
};

// A text from outside, to be written in double quotes: what is not printable ASCII is escaped, so
// that it can command no terminal, and it is cut after 96 bytes. (container/cgroup/text.h quotes
// the same way, for those that may allocate.)
struct Quoted {
  std::string_view text;
};

// How many there are of something: "1 byte", "2 bytes".
struct Counted {
  uint64_t number;
  std::string_view one;
};

// A text of bounded length, built on the stack.
class RawText {
 public:
  void Add(std::string_view text);
  void Add(const char* text) { Add(std::string_view(text)); }
  void Add(Hex number);
  void Add(Quoted outside);
  void Add(Counted things);
  void Add(bool value) { Add(std::string_view(value ? "true" : "false")); }
  void Add(char c) { Add(std::string_view(&c, 1)); }
  template <std::integral T>
  void Add(T number) {
    if constexpr (std::is_signed_v<T>) {
      if (number < 0) {
        Add(std::string_view("-"));
        AddUnsigned(0 - static_cast<uint64_t>(number));
        return;
      }
    }
    AddUnsigned(static_cast<uint64_t>(number));
  }

  std::string_view view() const { return {buffer_, size_}; }

 private:
  void AddUnsigned(uint64_t number);

  static constexpr size_t kCapacity = 1000;
  char buffer_[kCapacity];
  size_t size_ = 0;
};

// Writes all of `text` to the descriptor, going on after EINTR and short writes; other errors end
// it, EPIPE without its signal. A pipe that nobody reads holds a writer up for one second, the next
// ones not at all: what they write is lost, and the next log line that comes through tells how
// much.
void RawWrite(int fd, std::string_view text);

// The symbolic name of an errno value, such as "EAGAIN"; "unknown errno" for one it does not
// know, whose number the caller adds where it matters.
std::string_view ErrnoName(int error);

// Writes the text and a newline to stderr in one write.
void RawLogText(RawText& text);

template <typename... Parts>
void RawLog(const Parts&... parts) {
  RawText text;
  (text.Add(parts), ...);
  RawLogText(text);
}

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_RAW_LOG_H_
