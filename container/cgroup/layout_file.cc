#include "plimsoll/container/cgroup/layout_file.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

LayoutEntry MakeEntry(std::string_view header, std::string_view content) {
  constexpr std::string_view kEscaped = " (escaped)";
  constexpr std::string_view kArrow = " -> ";
  if (header.ends_with('/')) {
    return {LayoutEntry::Kind::kDirectory, std::string(header.substr(0, header.size() - 1)), {}};
  }
  if (const size_t arrow = header.find(kArrow); arrow != std::string_view::npos) {
    return {LayoutEntry::Kind::kLink, std::string(header.substr(0, arrow)),
            std::string(header.substr(arrow + kArrow.size()))};
  }
  if (header.ends_with(kEscaped)) {
    if (content.ends_with('\n')) content.remove_suffix(1);
    header.remove_suffix(kEscaped.size());
    return {LayoutEntry::Kind::kFile, Unescape(header), Unescape(content)};
  }
  return {LayoutEntry::Kind::kFile, std::string(header), std::string(content)};
}

absl::Status WriteEntry(const LayoutEntry& entry, const std::string& root) {
  const std::filesystem::path path(Concat(root, "/", entry.path));
  std::error_code error;
  if (entry.kind == LayoutEntry::Kind::kDirectory) {
    std::filesystem::create_directories(path, error);
  } else {
    std::filesystem::create_directories(path.parent_path(), error);
    if (!error && entry.kind == LayoutEntry::Kind::kLink) {
      std::filesystem::create_symlink(entry.text, path, error);
    } else if (!error) {
      std::ofstream file(path, std::ios::binary);
      file << entry.text;
      file.close();
      if (!file) return absl::InternalError(Concat(entry.path, ": cannot be written"));
    }
  }
  if (error) return absl::InternalError(Concat(entry.path, ": ", error.message()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<LayoutEntry>> ParseLayout(std::string_view text) {
  std::vector<LayoutEntry> entries;
  std::optional<std::string_view> header;
  std::string_view content;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) {
      return absl::InvalidArgumentError(Concat("no newline after ", Quote(text)));
    }
    const std::optional<std::string_view> next = Header(text.substr(0, end));
    if (next.has_value()) {
      if (header.has_value()) entries.push_back(MakeEntry(*header, content));
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
  if (header.has_value()) entries.push_back(MakeEntry(*header, content));
  return entries;
}

absl::Status UnpackLayout(std::string_view text, const std::string& root) {
  const absl::StatusOr<std::vector<LayoutEntry>> entries = ParseLayout(text);
  if (!entries.ok()) return entries.status();
  for (const LayoutEntry& entry : *entries) {
    if (absl::Status s = WriteEntry(entry, root); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace plimsoll::container
