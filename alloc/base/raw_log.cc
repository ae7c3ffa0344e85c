#include "plimsoll/alloc/base/raw_log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

namespace plimsoll::base {

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
  const int saved = errno;
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.remove_prefix(static_cast<size_t>(n));
  }
  errno = saved;
}

void RawLogText(RawText& text) {
  // Add() always leaves room for the newline.
  char line[1001];
  const std::string_view v = text.view();
  memcpy(line, v.data(), v.size());
  line[v.size()] = '\n';
  RawWrite(STDERR_FILENO, std::string_view(line, v.size() + 1));
}

std::string_view ErrnoName(int error) {
  // strerrorname_np reads a constant table: no memory, no locale.
  if (const char* name = strerrorname_np(error)) return name;
  return "unknown errno";
}

}  // namespace plimsoll::base
