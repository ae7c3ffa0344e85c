// The models of the peers against what the peers did: each layout's expected.json holds the answers
// of automaxprocs 1.6.0 and of runtime.GOMAXPROCS in programs built by Go 1.25.0 and Go 1.26.8, run
// by chroot with sched_getaffinity(2) answering the layout's mask (strace --inject).
#include "plimsoll/tools/plimsoll/peers.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "plimsoll/container/cgroup/fake_files.h"
#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/json_value.h"
#include "plimsoll/container/cgroup/layout_file.h"

namespace plimsoll::tools {
namespace {

using container::FakeFiles;

TEST(PeersTest, AnswerAsTheProgramsDidInEveryLayout) {
  int layouts = 0;
  for (const auto& entry : std::filesystem::directory_iterator("container/cgroup/testdata")) {
    if (entry.path().extension() != ".layout") continue;
    SCOPED_TRACE(entry.path().stem().string());
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    // Real files: Go and automaxprocs follow "..", and so does the kernel.
    std::string root = testing::TempDir() + "/peers-XXXXXX";
    ASSERT_NE(mkdtemp(root.data()), nullptr);
    ASSERT_TRUE(container::UnpackLayout(text.str(), root).ok());
    container::SystemFiles files(root);
    const auto parsed = container::ParseLayout(text.str());
    ASSERT_TRUE(parsed.ok());
    const auto expected = container::ParseJson(parsed->front().text);
    ASSERT_TRUE(expected.ok()) << expected.status();
    const container::JsonValue& peers = (*expected)["peers"];
    if (peers.members.empty()) continue;
    ++layouts;
    const Peers got = AskPeers(files, std::stoi((*expected)["inputs"]["affinity"].text));
    const auto go = [](int procs) { return procs == kGoEnds ? "crash" : std::to_string(procs); };
    EXPECT_EQ(go(got.go125), peers["go125"].text);
    EXPECT_EQ(go(got.go1268), peers["go1268"].text);
    if (got.go1268 != kGoEnds) {
      EXPECT_EQ(got.automaxprocs_1_6.Text(), peers["automaxprocs_1_6"].text);
    }
    std::filesystem::remove_all(root);
  }
  EXPECT_GE(layouts, 30);
}

TEST(PeersTest, KeepTheirManners) {
  const struct {
    const char* what;
    const char* self;
    const char* mountinfo;
    const char* path;
    const char* value;
    int go125, go1268;
    const char* automaxprocs;
  } kCases[] = {
      {"one field is no quota for Go, and half of one CPU for automaxprocs", "0::/\n",
       "30 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "/sys/fs/cgroup/cpu.max", "50000\n",
       8, 8, "1"},
      {"no newline", "0::/\n", "30 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
       "/sys/fs/cgroup/cpu.max", "300000 100000", 8, 8, "3"},
      {"a mount elsewhere is not v2 for automaxprocs", "0::/\n",
       "30 23 0:28 / /cg ro - cgroup2 cgroup rw\n", "/cg/cpu.max", "300000 100000\n", 3, 3,
       "unchanged"},
      {"automaxprocs follows the .. out of the mount", "0::/../x\n",
       "30 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "/sys/fs/x/cpu.max",
       "300000 100000\n", 8, 8, "3"},
      {"v1 quota of -1", "3:cpu:/\n", "30 23 0:28 / /cpu ro - cgroup cgroup rw,cpu\n",
       "/cpu/cpu.cfs_quota_us", "-1\n", 8, 8, "unchanged"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    FakeFiles files;
    files.Write("/proc/self/cgroup", c.self);
    files.Write("/proc/self/mountinfo", c.mountinfo);
    files.Write(c.path, c.value);
    const Peers got = AskPeers(files, 8);
    EXPECT_EQ(got.go125, c.go125);
    EXPECT_EQ(got.go1268, c.go1268);
    EXPECT_EQ(got.automaxprocs_1_6.Text(), c.automaxprocs);
  }
}

TEST(PeersTest, AutomaxprocsStopsAtAnyMountThatDoesNotShowUs) {
  FakeFiles files;
  files.Write("/proc/self/cgroup", "5:cpuset:/a\n3:cpu:/a\n");
  files.Write("/proc/self/mountinfo",
              "30 23 0:28 / /cpu ro - cgroup cgroup rw,cpu\n"
              "31 23 0:29 /b /cpuset ro - cgroup cgroup rw,cpuset\n");
  files.Write("/cpu/a/cpu.cfs_quota_us", "300000\n");
  files.Write("/cpu/a/cpu.cfs_period_us", "100000\n");
  const Peers got = AskPeers(files, 8);
  EXPECT_EQ(got.automaxprocs_1_6.Text(), "error");
  EXPECT_EQ(got.go1268, 3);
}

}  // namespace
}  // namespace plimsoll::tools
