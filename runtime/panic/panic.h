// A Panic is Go's panic as an exception: a misuse that the program may catch, with Go's text.
//
//   try {
//     jobs.Close();
//   } catch (const Panic& panic) {
//     Log(panic.what());          // "close of closed channel"
//     Log(panic.where().line());  // the line of jobs.Close()
//   }
//
// Uncaught:  ends the process as Go does: "panic: <text>", the goroutine, exit status 2.
// Text:      Go's, byte for byte, for everything that the runtime itself throws.
// Place:     the caller's line, not the runtime's.
#ifndef PLIMSOLL_RUNTIME_PANIC_PANIC_H_
#define PLIMSOLL_RUNTIME_PANIC_PANIC_H_

#include <exception>
#include <memory>
#include <source_location>
#include <string>

namespace plimsoll {

class Panic : public std::exception {
 public:
  explicit Panic(std::string text, std::source_location where = std::source_location::current());

  const char* what() const noexcept override { return text_->c_str(); }
  const std::source_location& where() const noexcept { return where_; }

 private:
  std::shared_ptr<const std::string> text_;  // shared: copying an exception must not throw
  std::source_location where_;
};

namespace internal {

// Out of line, so that a misuse costs its caller's fast path one call in the cold section.
[[noreturn, gnu::cold]] void ThrowPanic(const char* text, std::source_location where);

}  // namespace internal
}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_PANIC_PANIC_H_
