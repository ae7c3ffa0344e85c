// An Address is where a socket listens or connects: IP and port, or a path.
//
//   net::Address::Parse("127.0.0.1:8080")   "[::1]:8080"   ":8080" (every interface, IPv4 and IPv6)
//   net::Address::Parse("localhost:8080")   is 127.0.0.1 without asking anybody: an image from
//                                           scratch has no /etc/hosts
//   net::Address::Parse("unix:/run/a.sock") "unix:@abstract"
//
// Names:    other host names are refused; there is no resolver yet.
// Threads:  a value.
#ifndef PLIMSOLL_RUNTIME_NET_ADDRESS_H_
#define PLIMSOLL_RUNTIME_NET_ADDRESS_H_

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace plimsoll::net {

class Address {
 public:
  enum class Family : uint8_t {
    kUnset,
    kAny,  // every interface, IPv6 and IPv4: ":8080"
    kIpv4,
    kIpv6,
    kUnix,
  };

  Address() = default;  // kUnset; written as "?"

  // kInvalidArgument names the text and what is wrong with it.
  static absl::StatusOr<Address> Parse(std::string_view text);

  static Address Ipv4(std::array<uint8_t, 4> ip, uint16_t port);

  // What the kernel gave; kUnset for a family not known here.
  static Address FromSockaddr(const sockaddr_storage& from, socklen_t size);

  // Fills `out`; returns its size. kAny becomes [::]. Requires: not kUnset.
  socklen_t ToSockaddr(sockaddr_storage& out) const;

  Family family() const { return family_; }
  uint16_t port() const { return port_; }          // 0 for unix
  std::string_view path() const { return path_; }  // unix; an abstract one begins with '@'
  std::string_view network() const { return family_ == Family::kUnix ? "unix" : "tcp"; }

  // "127.0.0.1:8080", "[::1]:80", ":8080", "unix:/run/a.sock", "?".
  std::string ToString() const;

  friend bool operator==(const Address&, const Address&) = default;

 private:
  Family family_ = Family::kUnset;
  uint16_t port_ = 0;
  uint32_t scope_ = 0;            // IPv6 zone
  std::array<uint8_t, 16> ip_{};  // IPv4 in the first four
  std::string path_;
};

}  // namespace plimsoll::net

#endif  // PLIMSOLL_RUNTIME_NET_ADDRESS_H_
