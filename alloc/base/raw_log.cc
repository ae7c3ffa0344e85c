#include "plimsoll/alloc/base/raw_log.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "plimsoll/alloc/base/raw_syscall.h"

namespace plimsoll::base {
namespace {

// Keeps SIGPIPE from the calling thread, and takes away the one that a write has left. Raw calls: a
// handler may be the caller, and errno is not ours.
class NoSigPipe {
 public:
  NoSigPipe() {
    uint64_t before = 0;
    RawSyscall(SYS_rt_sigprocmask, SIG_BLOCK, &kMask, &before, sizeof(kMask));
    was_blocked_ = (before & kMask) != 0;
  }
  ~NoSigPipe() {
    if (was_blocked_) return;  // then a pending one may be somebody else's
    // The write's own: it is sent to the thread that wrote. Nothing is waited for.
    const timespec at_once{};
    RawSyscall(SYS_rt_sigtimedwait, &kMask, 0, &at_once, sizeof(kMask));
    RawSyscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &kMask, 0, sizeof(kMask));
  }
  NoSigPipe(const NoSigPipe&) = delete;
  NoSigPipe& operator=(const NoSigPipe&) = delete;

 private:
  static constexpr uint64_t kMask = uint64_t{1} << (SIGPIPE - 1);  // the kernel's sigset_t
  bool was_blocked_;
};

// Stderr is a pipe that nobody reads: lines are dropped at once until one goes through again.
constinit std::atomic<bool> stuck{false};
constinit std::atomic<uint64_t> lost_lines{0};

// Whether a write of at most PIPE_BUF bytes would not block, waiting at most `patience_ms` for it.
bool Writable(int fd, long patience_ms) {
  pollfd wanted{.fd = fd, .events = POLLOUT, .revents = 0};
  const timespec patience{.tv_sec = patience_ms / 1000, .tv_nsec = patience_ms % 1000 * 1'000'000};
  long n;
  do {
    // A signal begins the patience anew: there are not that many.
    n = RawSyscall(SYS_ppoll, &wanted, 1, &patience, 0, 0);
  } while (n == -EINTR);
  return n != 0;  // what is wrong with the descriptor, write says
}

// All of `text`, or false where nobody took it in time.
bool WriteAll(int fd, std::string_view text, long patience_ms) {
  const NoSigPipe guard;
  for (int tries = 0; !text.empty(); ++tries) {
    // Others write there too, and may be sooner; not for ever.
    if (tries > 1000 || !Writable(fd, patience_ms)) return false;
    constexpr size_t kAtomic = 4096;  // PIPE_BUF
    const size_t part = text.size() < kAtomic ? text.size() : kAtomic;
    const char* bytes = text.data();
    const long n = RawSyscall(SYS_write, fd, bytes, part);
    if (n == -EINTR || n == -EAGAIN) continue;
    if (n <= 0) break;  // it is closed, or full for good: there is nobody to tell
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

void RawText::Add(std::string_view text) {
  // Two bytes stay free for a newline and one to spare.
  const size_t room = kCapacity - 2 - size_;
  if (text.size() <= room) {
    memcpy(buffer_ + size_, text.data(), text.size());
    size_ += text.size();
    return;
  }
  memcpy(buffer_ + size_, text.data(), room);
  size_ += room;
  memcpy(buffer_ + size_ - 3, "...", 3);
}

void RawText::Add(Hex number) {
  char digits[18];
  size_t at = sizeof(digits);
  uint64_t rest = number.value;
  do {
    digits[--at] = "0123456789abcdef"[rest & 15];
    rest >>= 4;
  } while (rest != 0);
  digits[--at] = 'x';
  digits[--at] = '0';
  Add(std::string_view(digits + at, sizeof(digits) - at));
}

void RawText::Add(Quoted outside) {
  constexpr size_t kShown = 96;
  constexpr char kHex[] = "0123456789abcdef";
  const std::string_view shown = outside.text.substr(0, kShown);
  Add('"');
  for (const char c : shown) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n' || c == '\t') {
      Add(c == '\n' ? "\\n" : "\\t");
    } else if (c == '"' || c == '\\') {
      Add('\\');
      Add(c);
    } else if (byte < 0x20 || byte >= 0x7f) {
      Add("\\x");
      Add(kHex[byte >> 4]);
      Add(kHex[byte & 15]);
    } else {
      Add(c);
    }
  }
  Add('"');
  if (shown.size() == outside.text.size()) return;
  Add("... (");
  Add(outside.text.size());
  Add(" bytes)");
}

void RawText::Add(Counted things) {
  Add(things.number);
  Add(' ');
  Add(things.one);
  if (things.number != 1) Add('s');
}

void RawText::AddUnsigned(uint64_t number) {
  char digits[20];
  size_t at = sizeof(digits);
  do {
    digits[--at] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  Add(std::string_view(digits + at, sizeof(digits) - at));
}

void RawWrite(int fd, std::string_view text) {
  constexpr long kPatienceMs = 1000;
  const bool lost = !WriteAll(fd, text, stuck.load(std::memory_order_relaxed) ? 0 : kPatienceMs);
  stuck.store(lost, std::memory_order_relaxed);
  if (lost) lost_lines.fetch_add(1, std::memory_order_relaxed);
}

void RawLogText(RawText& text) {
  // One write for both: a pipe of one page takes no second one before it is read.
  char lines[1101];
  size_t size = 0;
  if (const uint64_t lost = lost_lines.exchange(0, std::memory_order_relaxed); lost != 0) {
    if (Writable(STDERR_FILENO, 0)) {
      RawText told;
      told.Add(Counted{lost, "line"});
      told.Add(lost == 1 ? " before this one was lost: nobody read it\n"
                         : " before this one were lost: nobody read them\n");
      size = told.view().size();
      memcpy(lines, told.view().data(), size);
    } else {
      lost_lines.fetch_add(lost, std::memory_order_relaxed);
    }
  }
  // Add() always leaves room for the newline.
  const std::string_view v = text.view();
  memcpy(lines + size, v.data(), v.size());
  size += v.size();
  lines[size++] = '\n';
  RawWrite(STDERR_FILENO, std::string_view(lines, size));
}

std::string_view ErrnoName(int error) {
  // strerrorname_np reads a constant table: no memory, no locale.
  if (const char* name = strerrorname_np(error)) return name;
  return "unknown errno";
}

}  // namespace plimsoll::base
