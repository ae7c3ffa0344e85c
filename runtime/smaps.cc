#include "plimsoll/runtime/smaps.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace plimsoll::internal {
namespace {

// A hexadecimal or decimal number at the start of `text`, which is taken off it.
bool TakeNumber(std::string_view& text, int base, uint64_t* to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *to, base);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

std::string_view TakeWord(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const size_t n = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, n);
  text.remove_prefix(n);
  return word;
}

}  // namespace

void MappingsParser::Add(std::string_view piece) {
  for (size_t end; (end = piece.find('\n')) != std::string_view::npos;
       piece.remove_prefix(end + 1)) {
    if (rest_.empty()) {
      Line(piece.substr(0, end));
    } else {
      rest_.append(piece.substr(0, end));
      Line(rest_);
      rest_.clear();
    }
  }
  rest_.append(piece);
}

void MappingsParser::Line(std::string_view line) {
  // "7f12c000-7f12d000 rw-p 00000000 00:00 0          [name]", then "Rss:      4 kB" and others.
  uint64_t begin, end;
  std::string_view rest = line;
  if (TakeNumber(rest, 16, &begin) && rest.starts_with('-') &&
      (rest.remove_prefix(1), TakeNumber(rest, 16, &end))) {
    const std::string_view perms = TakeWord(rest);
    for (int i = 0; i < 3; ++i) (void)TakeWord(rest);  // offset, device, inode
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    if (perms.size() < 4) return;
    to_->push_back({.begin = begin,
                    .end = end,
                    .accessible = perms.substr(0, 3) != "---",
                    .executable = perms[2] == 'x',
                    .shared = perms[3] == 's',
                    .name = std::string(rest),
                    .rss = 0});
    return;
  }
  if (line.starts_with("Rss:") && !to_->empty()) to_->back().rss = StatusBytes(line, "Rss");
}

bool ReadMappings(const char* path, std::vector<Mapping>* to) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  MappingsParser parser(to);
  std::string buffer(64 << 10, '\0');
  ssize_t n;
  while ((n = read(fd, buffer.data(), buffer.size())) > 0) {
    parser.Add(std::string_view(buffer).substr(0, static_cast<size_t>(n)));
  }
  close(fd);
  return n == 0;
}

uint64_t StatusBytes(std::string_view status, std::string_view key) {
  while (!status.empty()) {
    const size_t n = std::min(status.find('\n'), status.size());
    std::string_view line = status.substr(0, n);
    status.remove_prefix(std::min(n + 1, status.size()));
    if (!line.starts_with(key) || !line.substr(key.size()).starts_with(':')) continue;
    line.remove_prefix(key.size() + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    uint64_t number = 0;
    return TakeNumber(line, 10, &number) && line == " kB" ? number << 10 : 0;
  }
  return 0;
}

Residency::Residency()
    : fd_(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)),
      page_bytes_(static_cast<uintptr_t>(sysconf(_SC_PAGESIZE))) {
  // Some kernels' stand-ins have the file and nothing in it: our own stack is in memory.
  const int here = 0;
  if (ok() && Bytes(reinterpret_cast<uintptr_t>(&here), sizeof here) == 0) {
    close(fd_);
    fd_ = -1;
  }
}

Residency::~Residency() {
  if (fd_ >= 0) close(fd_);
}

bool Residency::Load(uintptr_t page) {
  if (page >= first_ && page < first_ + loaded_) return true;
  window_.resize(kWindow);
  const ssize_t n = pread(fd_, window_.data(), kWindow * sizeof(uint64_t),
                          static_cast<off_t>(page * sizeof(uint64_t)));
  first_ = page;
  loaded_ = n > 0 ? static_cast<size_t>(n) / sizeof(uint64_t) : 0;
  return loaded_ > 0;
}

uint64_t Residency::Bytes(uintptr_t at, size_t bytes) {
  constexpr uint64_t kPresent = uint64_t{1} << 63;
  uint64_t sum = 0;
  if (!ok() || bytes == 0) return 0;
  const uintptr_t end = at + bytes;
  for (uintptr_t page = at / page_bytes_; page * page_bytes_ < end; ++page) {
    if (!Load(page)) return sum;
    if ((window_[page - first_] & kPresent) == 0) continue;
    sum += std::min(end, (page + 1) * page_bytes_) - std::max(at, page * page_bytes_);
  }
  return sum;
}

}  // namespace plimsoll::internal
