#include "plimsoll/runtime/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace plimsoll::net {
namespace {

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

absl::Status Invalid(std::string_view text, const char* why) {
  return absl::InvalidArgumentError(
      absl::StrCat("net: address \"", absl::CEscape(Absl(text)), "\": ", why));
}

std::optional<uint16_t> ParsePort(std::string_view text) {
  if (text.empty() || text.size() > 5) return std::nullopt;
  uint32_t port = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    port = port * 10 + static_cast<uint32_t>(c - '0');
  }
  if (port > 65535) return std::nullopt;
  return static_cast<uint16_t>(port);
}

constexpr std::string_view kUnixPrefix = "unix:";
constexpr size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;

}  // namespace

absl::StatusOr<Address> Address::Parse(std::string_view text) {
  Address address;
  if (text.starts_with(kUnixPrefix)) {
    const std::string_view path = text.substr(kUnixPrefix.size());
    if (path.empty() || path == "@") return Invalid(text, "the path is empty");
    if (path.size() > kMaxPath) return Invalid(text, "the path is longer than 107 bytes");
    if (path.find('\0') != std::string_view::npos) return Invalid(text, "the path holds a NUL");
    address.family_ = Family::kUnix;
    address.path_ = std::string(path);
    return address;
  }

  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Invalid(text, "there is no port");
  std::string_view host = text.substr(0, colon);
  const std::optional<uint16_t> port = ParsePort(text.substr(colon + 1));
  if (!port.has_value()) return Invalid(text, "the port is not a number from 0 to 65535");
  address.port_ = *port;

  if (host.empty()) {
    address.family_ = Family::kAny;
    return address;
  }
  if (host == "localhost") host = "127.0.0.1";
  if (host.front() == '[') {
    if (host.back() != ']') return Invalid(text, "the bracket is not closed");
    const std::string inside(host.substr(1, host.size() - 2));
    in6_addr ip;
    if (inet_pton(AF_INET6, inside.c_str(), &ip) != 1) {
      return Invalid(text, "what is in the brackets is not an IPv6 address");
    }
    address.family_ = Family::kIpv6;
    std::memcpy(address.ip_.data(), &ip, sizeof(ip));
    return address;
  }
  if (host.find(':') != std::string_view::npos) {
    return Invalid(text, "an IPv6 address goes in brackets");
  }
  in_addr ip;
  if (inet_pton(AF_INET, std::string(host).c_str(), &ip) != 1) {
    return Invalid(text, "the host is not an IP address, and names are not resolved yet");
  }
  address.family_ = Family::kIpv4;
  std::memcpy(address.ip_.data(), &ip, sizeof(ip));
  return address;
}

Address Address::Ipv4(std::array<uint8_t, 4> ip, uint16_t port) {
  Address address;
  address.family_ = Family::kIpv4;
  address.port_ = port;
  std::copy(ip.begin(), ip.end(), address.ip_.begin());
  return address;
}

Address Address::FromSockaddr(const sockaddr_storage& from, socklen_t size) {
  Address address;
  if (from.ss_family == AF_INET && size >= sizeof(sockaddr_in)) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(from);
    address.family_ = Family::kIpv4;
    address.port_ = ntohs(in.sin_port);
    std::memcpy(address.ip_.data(), &in.sin_addr, 4);
  } else if (from.ss_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(from);
    address.port_ = ntohs(in.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
      // A dual-stack listener's IPv4 client: written as what it is.
      address.family_ = Family::kIpv4;
      std::memcpy(address.ip_.data(), in.sin6_addr.s6_addr + 12, 4);
    } else {
      address.family_ = Family::kIpv6;
      address.scope_ = in.sin6_scope_id;
      std::memcpy(address.ip_.data(), &in.sin6_addr, 16);
    }
  } else if (from.ss_family == AF_UNIX) {
    const auto& un = reinterpret_cast<const sockaddr_un&>(from);
    address.family_ = Family::kUnix;
    const size_t offset = offsetof(sockaddr_un, sun_path);
    const size_t length = size > offset ? size - offset : 0;  // 0: a client that has no name
    if (length > 0 && un.sun_path[0] == '\0') {
      address.path_ = "@" + std::string(un.sun_path + 1, length - 1);
    } else {
      address.path_ = std::string(un.sun_path, strnlen(un.sun_path, length));
    }
  }
  return address;
}

socklen_t Address::ToSockaddr(sockaddr_storage& out) const {
  std::memset(&out, 0, sizeof(out));
  switch (family_) {
    case Family::kIpv4: {
      auto& in = reinterpret_cast<sockaddr_in&>(out);
      in.sin_family = AF_INET;
      in.sin_port = htons(port_);
      std::memcpy(&in.sin_addr, ip_.data(), 4);
      return sizeof(in);
    }
    case Family::kAny:  // ip_ is zero
    case Family::kIpv6: {
      auto& in = reinterpret_cast<sockaddr_in6&>(out);
      in.sin6_family = AF_INET6;
      in.sin6_port = htons(port_);
      in.sin6_scope_id = scope_;
      std::memcpy(&in.sin6_addr, ip_.data(), 16);
      return sizeof(in);
    }
    case Family::kUnix: {
      auto& un = reinterpret_cast<sockaddr_un&>(out);
      un.sun_family = AF_UNIX;
      const bool abstract = !path_.empty() && path_[0] == '@';
      std::memcpy(un.sun_path, path_.data(), std::min(path_.size(), kMaxPath));
      if (abstract) un.sun_path[0] = '\0';
      return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size() +
                                    (abstract ? 0 : 1));
    }
    case Family::kUnset:
      break;
  }
  return 0;
}

std::string Address::ToString() const {
  switch (family_) {
    case Family::kUnset:
      return "?";
    case Family::kAny:
      return absl::StrCat(":", port_);
    case Family::kIpv4:
      return absl::StrCat(ip_[0], ".", ip_[1], ".", ip_[2], ".", ip_[3], ":", port_);
    case Family::kIpv6: {
      char text[INET6_ADDRSTRLEN];
      inet_ntop(AF_INET6, ip_.data(), text, sizeof(text));
      return absl::StrCat("[", text, "]:", port_);
    }
    case Family::kUnix:
      return absl::StrCat("unix:", path_);
  }
  return "?";
}

}  // namespace plimsoll::net
