// libcgroup and our own reader must find the same in every layout. libcgroup reads the real /proc
// and /sys, so each layout becomes the root directory of a child process.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/json_value.h"
#include "plimsoll/container/cgroup/layout_file.h"
#include "plimsoll/container/cgroup/libcgroup_tree.h"
#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/container/limits_json.h"

namespace plimsoll::container {
namespace {

constexpr char kFolder[] = "container/cgroup/testdata";

std::string ReadText(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// The real files, but every limit file denies us: then it was libcgroup that read a value.
class NoValues : public SystemFiles {
 public:
  int Open(const char* path) override {
    const std::string_view text = path;
    return text.starts_with("/proc/self/") ? SystemFiles::Open(path) : -EACCES;
  }
};

// Answers `ask` from a child whose root directory is `root`; nullopt: we may not chroot.
template <typename Ask>
std::optional<std::string> InRoot(const std::string& root, Ask ask) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const pid_t child = fork();
  if (child == 0) {
    if (chroot(root.c_str()) != 0 || chdir("/") != 0) _exit(77);
    const std::string answer = ask();
    for (std::string_view rest = answer; !rest.empty();) {
      const ssize_t wrote = write(ends[1], rest.data(), rest.size());
      if (wrote <= 0) _exit(1);
      rest.remove_prefix(static_cast<size_t>(wrote));
    }
    _exit(0);
  }
  close(ends[1]);
  std::string answer;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof(buffer))) > 0;) {
    answer.append(buffer, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) return std::nullopt;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  return answer;
}

DetectOptions Options(const JsonValue& inputs) {
  DetectOptions options{.affinity = std::stoi(inputs["affinity"].text),
                        .mem_total = std::stoull(inputs["mem_total"].text),
                        .page_size = std::stoull(inputs["page_size"].text)};
  options.environment = [](const char*) { return std::nullopt; };
  return options;
}

// What must agree: everything but who read it.
std::string Comparable(Limits limits) {
  limits.used_libcgroup = false;
  std::erase_if(limits.diagnostics, [](const Diagnostic& d) { return d.code == "library"; });
  return ToJson(limits);
}

// Runs `check(name, root, expected)` on each unpacked layout.
template <typename Check>
void ForEachLayout(Check check) {
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".layout") continue;
    SCOPED_TRACE(entry.path().stem().string());
    std::string root = testing::TempDir() + "/agree-XXXXXX";
    ASSERT_NE(mkdtemp(root.data()), nullptr);
    const absl::Status unpacked = UnpackLayout(ReadText(entry.path()), root);
    ASSERT_TRUE(unpacked.ok()) << unpacked;
    const absl::StatusOr<JsonValue> expected = ParseJson(ReadText(root + "/expected.json"));
    ASSERT_TRUE(expected.ok()) << expected.status();
    const bool go_on = check(entry.path().stem().string(), root, *expected);
    std::filesystem::remove_all(root);
    if (!go_on) return;
  }
}

bool MayChroot() {
  return InRoot("/", [] { return std::string(); }).has_value();
}

bool HaveLibcgroup() {
  return LibcgroupTree::Open().status().code() != absl::StatusCode::kUnimplemented;
}

TEST(LibcgroupAgreementTest, BothReadersFindTheSameInEveryLayout) {
  if (!HaveLibcgroup()) GTEST_SKIP() << "built without libcgroup";
  if (!MayChroot()) GTEST_SKIP() << "chroot is not permitted here";
  int layouts = 0, used = 0;
  ForEachLayout([&](const std::string& name, const std::string& root, const JsonValue& expected) {
    const auto detect = [&expected](bool use_libcgroup) {
      DetectOptions options = Options(expected["inputs"]);
      options.use_libcgroup = use_libcgroup;
      return Detect(options);
    };
    const std::optional<std::string> ours = InRoot(root, [&] { return Comparable(detect(false)); });
    const std::optional<std::string> with = InRoot(root, [&] {
      const Limits limits = detect(true);
      return (limits.used_libcgroup ? "y" : "n") + Comparable(limits);
    });
    EXPECT_EQ(with->substr(1), *ours);
    ++layouts;
    used += with->front() == 'y' ? 1 : 0;
    return true;
  });
  EXPECT_GE(layouts, 30);
  // Not in those without a mount, or where the first mount of a controller is not the one for us.
  EXPECT_GE(used, 30) << "of " << layouts;
}

TEST(LibcgroupAgreementTest, FindsTheLimitsWhenOurOwnReaderIsDeniedThem) {
  if (!HaveLibcgroup()) GTEST_SKIP() << "built without libcgroup";
  if (!MayChroot()) GTEST_SKIP() << "chroot is not permitted here";
  int quotas = 0;
  ForEachLayout([&](const std::string& name, const std::string& root, const JsonValue& expected) {
    if (name.starts_with("own-")) return true;  // odd on purpose: there our reader has to help
    const std::optional<std::string> answer = InRoot(root, [&expected] {
      NoValues files;
      DetectOptions options = Options(expected["inputs"]);
      options.files = &files;
      options.use_libcgroup = true;
      return ToJson(Detect(options));
    });
    const absl::StatusOr<JsonValue> found = ParseJson(*answer);
    EXPECT_TRUE(found.ok()) << *answer;
    if (!found.ok()) return false;
    // Two show us through another mount than a controller's first: they are not libcgroup's.
    if (name == "bind-mounted-subtree") return true;
    EXPECT_TRUE((*found)["quota"] == expected["expect"]["quota"]) << (*found)["quota"].Text();
    EXPECT_TRUE((*found)["quota_at"] == expected["expect"]["quota_at"]);
    EXPECT_TRUE((*found)["pids_max"] == expected["expect"]["pids_max"]);
    quotas += (*found)["quota"].items.empty() ? 0 : 1;
    return true;
  });
  EXPECT_GE(quotas, 10);
}

TEST(LibcgroupAgreementTest, BothReadersFindTheSameOnThisMachine) {
  DetectOptions options;
  options.use_libcgroup = false;
  const std::string ours = Comparable(Detect(options));
  options.use_libcgroup = true;
  EXPECT_EQ(Comparable(Detect(options)), ours);
}

// The input that libcgroup 2.0.2 does not survive: without the guard this ends by SIGSEGV.
TEST(LibcgroupAgreementTest, SurvivesAControllersFileOfOneNewline) {
  if (!MayChroot()) GTEST_SKIP() << "chroot is not permitted here";
  std::string root = testing::TempDir() + "/newline-XXXXXX";
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  const absl::Status unpacked =
      UnpackLayout(ReadText(std::string(kFolder) + "/k8s-v2-cgroupns.layout"), root);
  ASSERT_TRUE(unpacked.ok()) << unpacked;
  std::ofstream(root + "/sys/fs/cgroup/cgroup.controllers") << "\n";
  const std::optional<std::string> answer = InRoot(root, [] {
    DetectOptions options{.affinity = 16, .mem_total = uint64_t{16} << 30};
    options.use_libcgroup = true;
    const Limits limits = Detect(options);
    std::string codes = Concat(limits.procs_ceil_min2, ":");
    for (const Diagnostic& diagnostic : limits.diagnostics) codes += diagnostic.code + " ";
    return codes;
  });
  EXPECT_EQ(*answer, HaveLibcgroup() ? "2:library " : "2:");
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace plimsoll::container
