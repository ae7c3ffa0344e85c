#include "plimsoll/runtime/net/address.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace plimsoll::net {
namespace {

TEST(AddressTest, ReadsWhatItWrites) {
  const struct {
    std::string_view text, written;
    Address::Family family;
    uint16_t port;
  } kCases[] = {
      {"127.0.0.1:8080", "127.0.0.1:8080", Address::Family::kIpv4, 8080},
      {"0.0.0.0:0", "0.0.0.0:0", Address::Family::kIpv4, 0},
      {"255.255.255.255:65535", "255.255.255.255:65535", Address::Family::kIpv4, 65535},
      {"localhost:80", "127.0.0.1:80", Address::Family::kIpv4, 80},
      {":8080", ":8080", Address::Family::kAny, 8080},
      {"[::1]:80", "[::1]:80", Address::Family::kIpv6, 80},
      {"[::]:80", "[::]:80", Address::Family::kIpv6, 80},
      {"[2001:DB8:0:0:0:0:0:1]:1", "[2001:db8::1]:1", Address::Family::kIpv6, 1},
      {"unix:/run/a.sock", "unix:/run/a.sock", Address::Family::kUnix, 0},
      {"unix:@abstract", "unix:@abstract", Address::Family::kUnix, 0},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    const absl::StatusOr<Address> a = Address::Parse(c.text);
    ASSERT_TRUE(a.ok()) << a.status();
    EXPECT_EQ(a->ToString(), c.written);
    EXPECT_EQ(a->family(), c.family);
    EXPECT_EQ(a->port(), c.port);
  }
}

TEST(AddressTest, NamesWhatIsWrong) {
  const struct {
    std::string text;
    std::string_view why;
  } kCases[] = {
      {"", "no port"},
      {"127.0.0.1", "no port"},
      {"127.0.0.1:", "port is not a number"},
      {"127.0.0.1:http", "port is not a number"},
      {"127.0.0.1:-1", "port is not a number"},
      {"127.0.0.1:65536", "port is not a number"},
      {"127.0.0.1:000080", "port is not a number"},
      {"127.0.0.1: 80", "port is not a number"},
      {"1.2.3:80", "not an IP address"},
      {"01.2.3.4:80", "not an IP address"},
      {"example.org:80", "names are not resolved"},
      {"::1:80", "goes in brackets"},
      {"[::1:80", "bracket is not closed"},
      {"[::g]:80", "not an IPv6 address"},
      {"[]:80", "not an IPv6 address"},
      {"[127.0.0.1]:80", "not an IPv6 address"},
      {"unix:", "path is empty"},
      {"unix:@", "path is empty"},
      {"unix:/" + std::string(107, 'a'), "longer than 107"},
      {std::string("unix:/a\0b", 9), "NUL"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c.text));
    const absl::StatusOr<Address> a = Address::Parse(c.text);
    ASSERT_FALSE(a.ok());
    EXPECT_EQ(a.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(std::string(a.status().message()).find(c.why), std::string::npos) << a.status();
  }
}

TEST(AddressTest, SurvivesTheKernelsForm) {
  for (const std::string_view text :
       {"127.0.0.1:8080", "[::1]:80", "[fe80::1]:65535", "unix:/run/a.sock", "unix:@abstract"}) {
    SCOPED_TRACE(text);
    const absl::StatusOr<Address> a = Address::Parse(text);
    ASSERT_TRUE(a.ok());
    sockaddr_storage kernels;
    const socklen_t size = a->ToSockaddr(kernels);
    ASSERT_GT(size, 0u);
    EXPECT_EQ(Address::FromSockaddr(kernels, size), *a);
  }
}

TEST(AddressTest, AnIpv4ClientOfADualStackListenerIsWrittenAsIpv4) {
  sockaddr_storage storage{};
  auto& in = reinterpret_cast<sockaddr_in6&>(storage);
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(99);
  in.sin6_addr.s6_addr[10] = in.sin6_addr.s6_addr[11] = 0xff;
  const uint8_t ip[] = {10, 0, 0, 7};
  std::copy(std::begin(ip), std::end(ip), in.sin6_addr.s6_addr + 12);
  EXPECT_EQ(Address::FromSockaddr(storage, sizeof(in)).ToString(), "10.0.0.7:99");
}

TEST(AddressTest, AClientWithoutANameIsUnixWithAnEmptyPath) {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  EXPECT_EQ(Address::FromSockaddr(storage, sizeof(sa_family_t)).ToString(), "unix:");
}

TEST(AddressTest, AFamilyThatIsNotKnownIsUnset) {
  sockaddr_storage storage{};
  storage.ss_family = AF_NETLINK;
  EXPECT_EQ(Address::FromSockaddr(storage, sizeof(storage)).family(), Address::Family::kUnset);
  EXPECT_EQ(Address().ToString(), "?");
}

}  // namespace
}  // namespace plimsoll::net
