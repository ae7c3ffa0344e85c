#include "plimsoll/runtime/net/accept_filter.h"

#include <linux/filter.h>
#include <sys/socket.h>

#include <cstdint>
#include <limits>
#include <span>

namespace plimsoll::net::internal {
namespace {

constexpr uint32_t kDrop = 0;
constexpr uint32_t kKeep = ~uint32_t{0};  // that many bytes at most: all

bool Attach(int fd, std::span<sock_filter> program) {
  const sock_fprog filter = {static_cast<unsigned short>(program.size()), program.data()};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0;
}

}  // namespace

bool RefuseNewHandshakes(int fd) {
  const int no_interface = std::numeric_limits<int>::max();  // numbers are given out from 1 upwards
  if (setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &no_interface, sizeof(no_interface)) != 0) {
    return false;
  }
  // gVisor answers 0 to every option that it does not know, and forgets it.
  int bound = 0;
  socklen_t size = sizeof(bound);
  return getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &bound, &size) == 0 && bound == no_interface;
}

bool DropNewHandshakes(int fd) {
  constexpr uint32_t kFlagsOffset = 13, kSyn = 0x02, kAck = 0x10;  // RFC 9293, 3.1
  // Connections that are made while it is in force inherit it; to them no such packet comes.
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlagsOffset),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kSyn | kAck),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kSyn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, kDrop),
      BPF_STMT(BPF_RET | BPF_K, kKeep),
  };
  return Attach(fd, program);
}

bool DropEverything(int fd) {
  sock_filter program[] = {BPF_STMT(BPF_RET | BPF_K, kDrop)};
  return Attach(fd, program);
}

}  // namespace plimsoll::net::internal
