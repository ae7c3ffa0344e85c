#include "plimsoll/runtime/capabilities.h"

#include <dirent.h>
#include <errno.h>
#include <sys/resource.h>

#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace plimsoll {
namespace {

int answer;            // of every call
std::string disabled;  // io_uring_disabled
std::string map_count = "65530";
std::string huge = "always [madvise] never";

int Answer() { return answer; }
int unreadable;  // of every file: 0, or what opening it answers
int Line(const char* path, std::string* line) {
  const std::string_view p(path);
  *line = p.ends_with("io_uring_disabled") ? disabled
          : p.ends_with("max_map_count")   ? map_count
                                           : huge;
  return unreadable;
}
constexpr KernelProbes kFake = {&Answer, &Answer, &Answer, &Answer,
                                &Answer, &Answer, &Answer, &Line};

std::string LineOf(std::string_view name) {
  for (const Capability& c : ProbeCapabilities(kFake)) {
    if (c.name == name) return ToLine(c);
  }
  return "no line for " + std::string(name);
}

TEST(CapabilitiesTest, TellsMissingFromForbiddenAndWhy) {
  const struct {
    int answer;
    std::string disabled;
    std::string_view name, line;
  } kCases[] = {
      {0, "0", "io_uring", "plimsoll: io_uring: available, not used; epoll is used"},
      {-EPERM, "0", "io_uring",
       "plimsoll: io_uring: forbidden (EPERM: a seccomp profile refuses it); epoll is used"},
      {-EPERM, "2", "io_uring",
       "plimsoll: io_uring: forbidden (EPERM: kernel.io_uring_disabled is 2); epoll is used"},
      {-EACCES, "0", "io_uring",
       "plimsoll: io_uring: forbidden (EACCES: a security module refuses it); epoll is used"},
      {-ENOSYS, "", "io_uring",
       "plimsoll: io_uring: missing (ENOSYS: the kernel was built without it, or a seccomp profile "
       "hides it); epoll is used"},
      {-ENOMEM, "", "io_uring", "plimsoll: io_uring: unknown (ENOMEM); epoll is used"},
      {0, "", "MADV_GUARD_INSTALL",
       "plimsoll: MADV_GUARD_INSTALL: used (stack guards cost no mapping)"},
      {-EINVAL, "", "MADV_GUARD_INSTALL",
       "plimsoll: MADV_GUARD_INSTALL: missing (EINVAL: the kernel is older than 6.13); stacks are "
       "guarded by mprotect while vm.max_map_count lasts"},
      {-ENOSYS, "", "epoll_pwait2",
       "plimsoll: epoll_pwait2: missing (ENOSYS: the kernel is older than 5.11); epoll_wait is "
       "used, timers are rounded up to a millisecond"},
      {0, "", "epoll_pwait2", "plimsoll: epoll_pwait2: used"},
      {-EPERM, "", "userfaultfd",
       "plimsoll: userfaultfd: forbidden (EPERM: a seccomp profile or vm.unprivileged_userfaultfd "
       "refuses it)"},
      {0, "", "rseq", "plimsoll: rseq: available, not used"},
      {0, "", "membarrier", "plimsoll: membarrier: available, not used"},
      {-EPERM, "", "memfd_create",
       "plimsoll: memfd_create: forbidden (EPERM: a seccomp profile refuses it)"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.name << " " << c.answer);
    answer = c.answer;
    disabled = c.disabled;
    EXPECT_EQ(LineOf(c.name), c.line);
  }
}

TEST(CapabilitiesTest, SaysWhatASettingHoldsEvenIfItIsNonsense) {
  answer = 0;
  const struct {
    std::string map_count, huge;
    std::string_view name, line;
  } kCases[] = {
      {"262144", "", "vm.max_map_count", "plimsoll: vm.max_map_count: used (262144)"},
      {"", "", "vm.max_map_count",
       "plimsoll: vm.max_map_count: unknown (/proc/sys/vm/max_map_count holds \"\"); 65530 is "
       "assumed"},
      {"many", "", "vm.max_map_count",
       "plimsoll: vm.max_map_count: unknown (/proc/sys/vm/max_map_count holds \"many\"); 65530 is "
       "assumed"},
      {"1", "always [madvise] never", "transparent huge pages",
       "plimsoll: transparent huge pages: available, not used (the node's setting is madvise)"},
      {"1", "always madvise [never]", "transparent huge pages",
       "plimsoll: transparent huge pages: missing (the node's setting is never)"},
      {"1", "]x[", "transparent huge pages",
       "plimsoll: transparent huge pages: unknown (/sys/kernel/mm/transparent_hugepage/enabled "
       "holds \"]x[\")"},
      {"1", "\x1b[2J", "transparent huge pages",
       "plimsoll: transparent huge pages: unknown (/sys/kernel/mm/transparent_hugepage/enabled "
       "holds \"\\x1b[2J\")"},
  };
  for (const auto& c : kCases) {
    map_count = c.map_count;
    huge = c.huge;
    EXPECT_EQ(LineOf(c.name), c.line);
  }
}

TEST(CapabilitiesTest, TellsAFileThatIsMissingFromOneThatCannotBeOpenedNow) {
  answer = 0;
  const struct {
    int unreadable;
    std::string_view name, line;
  } kCases[] = {
      {-ENOENT, "transparent huge pages",
       "plimsoll: transparent huge pages: missing (/sys/kernel/mm/transparent_hugepage/enabled "
       "cannot be read: ENOENT)"},
      {-EMFILE, "transparent huge pages",
       "plimsoll: transparent huge pages: unknown (/sys/kernel/mm/transparent_hugepage/enabled "
       "cannot be read: EMFILE)"},
      {-EMFILE, "vm.max_map_count",
       "plimsoll: vm.max_map_count: unknown (/proc/sys/vm/max_map_count cannot be read: EMFILE); "
       "65530 is assumed"},
  };
  for (const auto& c : kCases) {
    unreadable = c.unreadable;
    EXPECT_EQ(LineOf(c.name), c.line);
  }
  unreadable = 0;
}

TEST(CapabilitiesTest, TheRealKernelsAnswerForAFileIsItsErrno) {
  std::string line = "as it was";
  EXPECT_EQ(kRealKernel.first_line("/proc/self/no_such_file", &line), -ENOENT);
  EXPECT_EQ(line, "as it was");
  EXPECT_EQ(kRealKernel.first_line("/proc/self/comm", &line), 0);
  EXPECT_NE(line, "as it was");
  EXPECT_EQ(line.find('\n'), std::string::npos);
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 0;
  setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_EQ(kRealKernel.first_line("/proc/self/comm", &line), -EMFILE);
  setrlimit(RLIMIT_NOFILE, &before);
}

int OpenDescriptors() {
  int count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

TEST(CapabilitiesTest, AsksTheRealKernelAndLeavesNothingOpen) {
  const int before = OpenDescriptors();
  const std::vector<Capability> all = ProbeCapabilities();
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_EQ(all.size(), 9u);
  for (const Capability& c : all) {
    // Every one is answered here and now, or says why not.
    EXPECT_TRUE(c.presence != Presence::kUnknown || !c.why.empty()) << ToLine(c);
    EXPECT_EQ(ToLine(c).find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace plimsoll
