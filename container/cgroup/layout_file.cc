#include "plimsoll/container/cgroup/layout_file.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/status/status.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

// The text between "-- " and " --"; nullopt: the line is no header.
std::optional<std::string_view> Header(std::string_view line) {
  if (!line.starts_with("-- ") || !line.ends_with(" --") || line.size() < 7) return std::nullopt;
  return line.substr(3, line.size() - 6);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("\\x") && i + 3 < text.size() && HexDigit(text[i + 2]) >= 0 &&
        HexDigit(text[i + 3]) >= 0) {
      out += static_cast<char>(HexDigit(text[i + 2]) * 16 + HexDigit(text[i + 3]));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

absl::Status WriteEntry(std::string_view header, std::string_view content,
                        const std::string& root) {
  constexpr std::string_view kEscaped = " (escaped)";
  constexpr std::string_view kArrow = " -> ";
  std::error_code error;
  if (header.ends_with('/')) {
    std::filesystem::create_directories(Concat(root, "/", header), error);
    if (error) return absl::InternalError(Concat(header, ": ", error.message()));
    return absl::OkStatus();
  }
  std::string text(content);
  std::string_view name = header;
  const size_t arrow = header.find(kArrow);
  if (arrow != std::string_view::npos) {
    name = header.substr(0, arrow);
  } else if (header.ends_with(kEscaped)) {
    name.remove_suffix(kEscaped.size());
    if (content.ends_with('\n')) content.remove_suffix(1);
    text = Unescape(content);
  }
  const std::filesystem::path path(Concat(root, "/", name));
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) return absl::InternalError(Concat(name, ": ", error.message()));
  if (arrow != std::string_view::npos) {
    std::filesystem::create_symlink(std::string(header.substr(arrow + kArrow.size())), path, error);
    if (error) return absl::InternalError(Concat(name, ": ", error.message()));
    return absl::OkStatus();
  }
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) return absl::InternalError(Concat(name, ": cannot be written"));
  return absl::OkStatus();
}

}  // namespace

absl::Status UnpackLayout(std::string_view text, const std::string& root) {
  std::optional<std::string_view> header;
  std::string_view content = text.substr(0, 0);
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) {
      return absl::InvalidArgumentError(Concat("no newline after ", Quote(text)));
    }
    const std::optional<std::string_view> next = Header(text.substr(0, end));
    if (next.has_value()) {
      if (header.has_value()) {
        if (absl::Status s = WriteEntry(*header, content, root); !s.ok()) return s;
      }
      header = next;
      content = text.substr(end + 1, 0);
    } else if (!header.has_value()) {
      return absl::InvalidArgumentError(
          Concat(Quote(text.substr(0, end)), " precedes every header"));
    } else {
      content = std::string_view(content.data(), content.size() + end + 1);
    }
    text.remove_prefix(end + 1);
  }
  return header.has_value() ? WriteEntry(*header, content, root) : absl::OkStatus();
}

}  // namespace plimsoll::container
