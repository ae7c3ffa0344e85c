// A Traceback writes goroutines and their frames to stderr, in Go's form.
//
//   goroutine 18 [chan receive, 2 minutes] {"label": "worker"}:
//   plimsoll::Channel<int>::Recv(...)
//           runtime/chan/channel.h:71 +0x1d
//   main::{lambda#1}::operator()(...)
//           /usr/bin/service+0x2a17d
//   created by main in goroutine 1
//           /usr/bin/service+0x29f03
//
// The second line of a frame is its source line where the program has debug information, else the
// module and the address in it (for addr2line -e MODULE 0xADDRESS). The runtime's own frames are
// left out below level kSystem.
//
// Handlers: for a process that is ending: no malloc, no lock, raw writes. Wants 24 KiB of stack.
// Threads:  what others run is read while they run it, unless they were frozen first (crash.cc): a
//           goroutine that moves meanwhile shows a torn stack, never a fault.
#ifndef PLIMSOLL_RUNTIME_SCHED_TRACEBACK_H_
#define PLIMSOLL_RUNTIME_SCHED_TRACEBACK_H_

#include <cstdint>
#include <string_view>

#include "plimsoll/runtime/sched/crash.h"
#include "plimsoll/runtime/sched/g.h"
#include "plimsoll/runtime/symbolize/symbolizer.h"

namespace plimsoll::sched {

// What a goroutine is doing, as its header says: "running", "chan receive", ….
std::string_view StatusText(const G* g);

class Traceback {
 public:
  explicit Traceback(TracebackLevel level) : level_(level) {}

  // The goroutine with its frames from `regs` up; null: from where it was saved.
  void Print(const G* g, const symbolize::Registers* regs);

  // Every goroutine but `except`, by number, main first.
  void PrintAll(const G* except);

  // The next Print is of a goroutine that threw. Where it did, if that is known, is shown as a
  // frame of its own before the first one.
  void SetThrown(std::string_view file, uint32_t line) {
    in_throw_ = true;
    panic_file_ = file;
    panic_line_ = line;
  }

 private:
  void PrintFrames(const symbolize::Registers& regs, const stack::Stack& stack, bool all_frames);
  bool PrintFrame(const symbolize::Registers& regs, bool guessed, bool all_frames);
  void PrintCreator(const G* g);

  TracebackLevel level_;
  std::string_view panic_file_;
  uint32_t panic_line_ = 0;
  bool in_throw_ = false;
  char last_name_[512];  // of the function printed last
  size_t last_length_ = 0;
  symbolize::Symbolizer symbols_;
  symbolize::Scratch scratch_;
};

// The registers of a goroutine whose thread was stopped for a dump (crash.cc). False: none such.
bool FrozenRegisters(const G* g, symbolize::Registers* out);

// Of a function's name "plimsoll::internal::kEntryOps<X>::…", which runs the closure X and into
// which an optimizer puts X's own call: X. Empty for any other name.
std::string_view ClosureOf(std::string_view name);

// The registers of a goroutine that does not run, from where its switch left them.
symbolize::Registers SavedRegistersOf(const G* g);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_TRACEBACK_H_
