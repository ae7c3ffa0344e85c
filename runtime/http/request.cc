#include "plimsoll/runtime/http/request.h"

namespace plimsoll::http {

absl::StatusOr<std::string> Request::ReadAll() {
  std::string all;
  size_t size = 0;
  while (true) {
    // Grown as the bytes come: a Content-Length alone must not make us allocate.
    if (all.size() - size < 1024) all.resize(size + (size < 4096 ? 4096 : size));
    absl::StatusOr<size_t> n = ReadBody(std::span<char>(all).subspan(size));
    if (!n.ok()) return n.status();
    size += *n;
    if (*n == 0) break;
  }
  all.resize(size);
  return all;
}

}  // namespace plimsoll::http
