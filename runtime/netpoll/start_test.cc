// Which engine Start makes, and what it says where the kernel refuses one. Each case is a process
// of its own, behind a seccomp filter of its own.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "plimsoll/runtime/netpoll/netpoll.h"

namespace plimsoll::netpoll {
namespace {

// From now on the call `number` fails with `error`, as behind a container's profile.
void Refuse(long number, int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    perror("seccomp");
    exit(9);
  }
}

// Prints "ENGINE [REFUSAL]" or the error, and ends.
[[noreturn]] void StartAndTell(Engine wanted) {
  const absl::StatusOr<Started> started = Start(wanted);
  if (started.ok()) {
    fprintf(stderr, "engine %s [%s]\n", std::string(ToString(started->engine)).c_str(),
            started->refusal.c_str());
  } else {
    fprintf(stderr, "error %s\n", std::string(started.status().message()).c_str());
  }
  exit(0);
}

class StartDeathTest : public testing::Test {
 protected:
  StartDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(StartDeathTest, ARefusedIoUringIsEpollAndSaysWhy) {
  const struct {
    long call;
    int error;
    const char* said;
  } kCases[] = {
      {SYS_io_uring_setup, ENOSYS, "engine epoll \\[netpoll: io_uring_setup: ENOSYS\\]"},
      {SYS_io_uring_setup, EPERM, "engine epoll \\[netpoll: io_uring_setup: EPERM\\]"},
      {SYS_io_uring_setup, EACCES, "engine epoll \\[netpoll: io_uring_setup: EACCES\\]"},
  };
  for (const auto& c : kCases) {
    EXPECT_EXIT(
        {
          Refuse(c.call, c.error);
          StartAndTell(Engine::kIoUring);
        },
        testing::ExitedWithCode(0), c.said);
  }
}

TEST_F(StartDeathTest, ARingThatMayBeMadeAndNotUsedIsARefusalToo) {
  // Where it may not even be made, that is told instead; both are epoll.
  EXPECT_EXIT(
      {
        Refuse(SYS_io_uring_enter, EPERM);
        StartAndTell(Engine::kIoUring);
      },
      testing::ExitedWithCode(0), "engine epoll \\[netpoll: io_uring_(enter|setup): E[A-Z]+\\]");
}

TEST_F(StartDeathTest, ALackOfMemoryIsNoRefusal) {
  for (const auto& [error, name] : {std::pair{ENOMEM, "ENOMEM"}, std::pair{EMFILE, "EMFILE"}}) {
    EXPECT_EXIT(
        {
          Refuse(SYS_io_uring_setup, error);
          StartAndTell(Engine::kIoUring);
        },
        testing::ExitedWithCode(0), std::string("error netpoll: io_uring_setup: ") + name);
  }
}

TEST_F(StartDeathTest, EpollAsksNothingOfIoUring) {
  EXPECT_EXIT(
      {
        Refuse(SYS_io_uring_setup, ENOMEM);
        StartAndTell(Engine::kEpoll);
      },
      testing::ExitedWithCode(0), "engine epoll \\[\\]");
}

TEST(ParseEngineTest, KnowsThreeWordsAndNoOthers) {
  EXPECT_EQ(ParseEngine(nullptr), Engine::kEpoll);
  EXPECT_EQ(ParseEngine(""), Engine::kEpoll);
  EXPECT_EQ(ParseEngine("epoll"), Engine::kEpoll);
  EXPECT_EQ(ParseEngine("auto"), Engine::kEpoll);
  EXPECT_EQ(ParseEngine("io_uring"), Engine::kIoUring);
  EXPECT_EQ(ParseEngine("IO_URING"), std::nullopt);
  EXPECT_EQ(ParseEngine("kqueue"), std::nullopt);
}

}  // namespace
}  // namespace plimsoll::netpoll
