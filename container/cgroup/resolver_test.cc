#include "plimsoll/container/cgroup/resolver.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace plimsoll::container {
namespace {

Hierarchy ResolveV2(const std::string& path, const std::vector<CgroupMount>& mounts) {
  const CgroupLine line{.v2 = true, .controllers = {}, .path = path};
  return Resolve("cpu", std::vector<CgroupLine>{line}, mounts);
}

TEST(ResolverTest, MapsThePathThroughTheRootByWholeComponents) {
  const struct {
    std::string path, root;
    Exposure exposure;
    std::vector<std::string> dirs;
  } kCases[] = {
      {"/", "/", Exposure::kOwnDirectory, {"/cg"}},
      {"/a/b", "/", Exposure::kOwnDirectory, {"/cg/a/b", "/cg/a", "/cg"}},
      {"/a/b", "/a", Exposure::kOwnDirectory, {"/cg/b", "/cg"}},
      {"/a/b", "/a/b", Exposure::kOwnDirectory, {"/cg"}},
      {"/a/b/", "//a//", Exposure::kOwnDirectory, {"/cg/b", "/cg"}},
      {"/ab", "/a", Exposure::kNotExposed, {}},
      {"/a", "/a/b", Exposure::kNotExposed, {}},
      {"/c", "/a", Exposure::kNotExposed, {}},
      {"/..a/b", "/", Exposure::kOwnDirectory, {"/cg/..a/b", "/cg/..a", "/cg"}},
      {"/", "/..", Exposure::kOwnPathUnknown, {"/cg"}},
      {"/", "/../../..", Exposure::kOwnPathUnknown, {"/cg"}},
      {"/a/b", "/..", Exposure::kOwnPathUnknown, {"/cg"}},
      {"/..", "/../..", Exposure::kOwnPathUnknown, {"/cg"}},
      {"/../x", "/../..", Exposure::kOwnPathUnknown, {"/cg"}},
      {"/", "/../x", Exposure::kNotExposed, {}},
      {"/../x", "/", Exposure::kNotExposed, {}},
      {"/..", "/", Exposure::kNotExposed, {}},
      {"/../x", "/..", Exposure::kOwnDirectory, {"/cg/x", "/cg"}},
      {"/../x/y", "/../x", Exposure::kOwnDirectory, {"/cg/y", "/cg"}},
      {"/../../x", "/..", Exposure::kNotExposed, {}},
      {"/../x", "/../y", Exposure::kNotExposed, {}},
      {"/a/../b", "/", Exposure::kNotExposed, {}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.path + " in " + c.root);
    const Hierarchy got =
        ResolveV2(c.path, {{.v2 = true, .root = c.root, .mount_point = "/cg", .options = {}}});
    EXPECT_EQ(got.exposure, c.exposure);
    EXPECT_EQ(got.dirs, c.dirs);
    EXPECT_EQ(got.version, CgroupVersion::kV2);
  }
}

TEST(ResolverTest, TakesTheMountThatShowsMostLevelsAndTheFirstOnATie) {
  const CgroupMount leaf{.v2 = true, .root = "/a/b", .mount_point = "/leaf", .options = {}};
  const CgroupMount all{.v2 = true, .root = "/", .mount_point = "/all", .options = {}};
  const CgroupMount again{.v2 = true, .root = "/", .mount_point = "/again", .options = {}};
  const CgroupMount outer{.v2 = true, .root = "/..", .mount_point = "/outer", .options = {}};
  EXPECT_EQ(ResolveV2("/a/b", {leaf, all, again}).mount_point, "/all");
  EXPECT_EQ(ResolveV2("/a/b", {outer, leaf}).mount_point, "/leaf");
  EXPECT_EQ(ResolveV2("/x", {leaf, outer}).mount_point, "/outer");
}

TEST(ResolverTest, LooksForAControllerOnItsOwnHierarchyAlone) {
  const std::vector<CgroupLine> lines = {
      {.v2 = false, .controllers = {"cpu", "cpuacct"}, .path = "/v1"},
      {.v2 = true, .controllers = {}, .path = "/v2"}};
  const CgroupMount v1{
      .v2 = false, .root = "/", .mount_point = "/c1", .options = {"rw", "cpu", "cpuacct"}};
  const CgroupMount v2{.v2 = true, .root = "/", .mount_point = "/c2", .options = {"rw"}};
  const CgroupMount other{
      .v2 = false, .root = "/", .mount_point = "/o", .options = {"rw", "cpuacct"}};

  EXPECT_EQ(Resolve("cpu", lines, std::vector<CgroupMount>{other, v2, v1}).dirs[0], "/c1/v1");
  const Hierarchy memory = Resolve("memory", lines, std::vector<CgroupMount>{v1, v2});
  EXPECT_EQ(memory.dirs[0], "/c2/v2");
  const Hierarchy unmounted = Resolve("cpu", lines, std::vector<CgroupMount>{v2});
  EXPECT_EQ(unmounted.version, CgroupVersion::kV1);
  EXPECT_EQ(unmounted.exposure, Exposure::kNotExposed);
  EXPECT_EQ(
      Resolve("memory", std::vector<CgroupLine>{lines[0]}, std::vector<CgroupMount>{v1}).exposure,
      Exposure::kNoHierarchy);
}

}  // namespace
}  // namespace plimsoll::container
