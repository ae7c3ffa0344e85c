#include "plimsoll/runtime/net/handshakes.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace plimsoll::net::internal {
namespace {

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 what;
};

// Reads one dump to its end. Nothing: it did not come to a good end.
std::optional<bool> AnyInDump(int fd) {
  alignas(nlmsghdr) char buffer[8192];
  bool any = false;
  while (true) {
    const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::nullopt;
    auto left = static_cast<unsigned>(n);
    for (auto* m = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(m, left);
         m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_type == NLMSG_DONE) {
        // A kernel without tcp_diag tells so here: as -ENOENT.
        int error = 0;
        if (m->nlmsg_len >= NLMSG_LENGTH(sizeof(error))) {
          std::memcpy(&error, NLMSG_DATA(m), sizeof(error));
        }
        return error < 0 ? std::nullopt : std::optional(any);
      }
      if (m->nlmsg_type == NLMSG_ERROR) return std::nullopt;
      if (m->nlmsg_type == SOCK_DIAG_BY_FAMILY) any = true;
    }
  }
}

}  // namespace

std::optional<bool> HandshakesHalfDone(uint16_t port) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) return std::nullopt;
  std::optional<bool> half_done;
  // A listener for both families has the handshakes of IPv4 clients among IPv6's.
  for (const int family : {AF_INET, AF_INET6}) {
    Request request = {};
    request.header.nlmsg_len = sizeof(request);
    request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.what.sdiag_family = static_cast<uint8_t>(family);
    request.what.sdiag_protocol = IPPROTO_TCP;
    request.what.idiag_states = 1u << TCP_SYN_RECV;
    request.what.id.idiag_sport = htons(port);
    if (send(fd, &request, sizeof(request), 0) != static_cast<ssize_t>(sizeof(request))) continue;
    if (const std::optional<bool> any = AnyInDump(fd)) half_done = any;
    if (half_done.value_or(false)) break;
  }
  close(fd);
  return half_done;
}

}  // namespace plimsoll::net::internal
