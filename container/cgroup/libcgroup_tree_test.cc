#include "plimsoll/container/cgroup/libcgroup_tree.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "plimsoll/container/cgroup/fake_files.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

using std::string_literals::operator""s;

class LibcgroupGuardTest : public testing::Test {
 protected:
  void SetUp() override {
    files_.Write("/proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t9\t1\n");
    files_.Write("/proc/mounts",
                 "proc /proc proc rw 0 0\n"
                 "cgroup /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"
                 "none /cg\\040v1 cgroup rw,cpu,cpuacct 0 0\n");
    files_.Write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
  }

  std::string Refusal() {
    const absl::Status status = LibcgroupTree::CheckInput(files_);
    return status.ok() ? "" : std::string(status.message());
  }

  FakeFiles files_;
};

TEST_F(LibcgroupGuardTest, LetsWhatAKernelWritesPass) {
  EXPECT_EQ(Refusal(), "");
  files_.Write("/sys/fs/cgroup/cgroup.controllers", "");  // in a hybrid's unified tree
  EXPECT_EQ(Refusal(), "");
}

TEST_F(LibcgroupGuardTest, RefusesAControllersFileThatCrashesIt) {
  for (const std::string& text :
       {"\n"s, "   \n"s, "\0cpu\n"s, "\n\n"s, "cpu\tmemory\n"s, "CPU\n"s}) {
    files_.Write("/sys/fs/cgroup/cgroup.controllers", text);
    EXPECT_NE(Refusal().find("/sys/fs/cgroup/cgroup.controllers"), std::string::npos)
        << Quote(text) << " gives " << Refusal();
  }
}

TEST_F(LibcgroupGuardTest, RefusesAControllersFileThatMakesInitFail) {
  files_.FailOpen("/sys/fs/cgroup/cgroup.controllers", EACCES);
  EXPECT_EQ(Refusal(), "/sys/fs/cgroup/cgroup.controllers: Permission denied");
  files_.FailOpen("/sys/fs/cgroup/cgroup.controllers", 0);
  files_.Remove("/sys/fs/cgroup/cgroup.controllers");
  EXPECT_EQ(Refusal(), "/sys/fs/cgroup/cgroup.controllers: No such file or directory");
}

TEST_F(LibcgroupGuardTest, RefusesMoreThanItsTablesHold) {
  std::string names, lines = "#header\n";
  for (int i = 0; i < 80; ++i) {
    names += Concat("c", i, " ");
    lines += Concat("c", i, "\t0\t1\t1\n");
  }
  files_.Write("/sys/fs/cgroup/cgroup.controllers", names + "\n");
  EXPECT_NE(Refusal().find("more controllers than libcgroup has room for"), std::string::npos);
  SetUp();
  files_.Write("/proc/cgroups", lines);
  EXPECT_NE(Refusal().find("one controller too many"), std::string::npos);
  SetUp();
  std::string mounts;
  for (int i = 0; i < 300; ++i) mounts += "none /cg cgroup rw,cpu 0 0\n";
  files_.Write("/proc/mounts", mounts);
  EXPECT_NE(Refusal().find("one cgroup mount too many"), std::string::npos);
}

TEST_F(LibcgroupGuardTest, RefusesLinesThatOverrunItsBuffers) {
  const std::string wide(5000, 'x');
  for (const std::string& line :
       {"none /" + wide + " cgroup rw,cpu 0 0\n", "none /cg cgroup rw,name=" + wide + " 0 0\n"}) {
    files_.Write("/proc/mounts", line);
    EXPECT_NE(Refusal().find("too long"), std::string::npos);
  }
  SetUp();
  for (const std::string& text : {"#h\ncpu 0 9 1\n"s, "#h\ncpu\t0\t9\n"s, "#h\ncpu\tx\t9\t1\n"s,
                                  "#h\n" + wide + "\t1\t1\t1\n", ""s, "#h\ncpu\t0\t9\t1\0\n"s,
                                  "#h\ncpu\t99999999999\t9\t1\n"s}) {
    files_.Write("/proc/cgroups", text);
    EXPECT_NE(Refusal().find("/proc/cgroups"), std::string::npos) << Quote(text);
  }
}

TEST_F(LibcgroupGuardTest, SaysWhenThereIsNothingToRead) {
  files_.Write("/proc/mounts", "proc /proc proc rw 0 0\nshort line\n");
  EXPECT_EQ(Refusal(), "/proc/mounts: no cgroup is mounted");
  files_.Remove("/proc/mounts");
  EXPECT_EQ(Refusal(), "/proc/mounts: No such file or directory");
  files_.Remove("/proc/cgroups");
  EXPECT_EQ(Refusal(), "/proc/cgroups: No such file or directory");
}

}  // namespace
}  // namespace plimsoll::container
