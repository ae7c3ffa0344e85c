// Every layout in cgroup/testdata is unpacked and must yield what its expected.json says, key by
// key.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "plimsoll/container/cgroup/json_value.h"
#include "plimsoll/container/cgroup/layout_file.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/container/limits_json.h"

namespace plimsoll::container {
namespace {

constexpr char kFolder[] = "container/cgroup/testdata";

std::string ReadText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The layouts; or those that hold `word`.
std::vector<std::string> LayoutNames(const std::string& word = "") {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".layout" &&
        ReadText(entry.path()).find(word) != std::string::npos)
      names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class LayoutTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/layout-XXXXXX";
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
    const absl::Status status =
        UnpackLayout(ReadText(std::string(kFolder) + "/" + GetParam() + ".layout"), root_);
    ASSERT_TRUE(status.ok()) << status;
    absl::StatusOr<JsonValue> expected = ParseJson(ReadText(root_ + "/expected.json"));
    ASSERT_TRUE(expected.ok()) << expected.status();
    expected_ = *std::move(expected);
  }

  void TearDown() override { std::filesystem::remove_all(root_); }

  DetectOptions Options() const {
    const JsonValue& inputs = expected_["inputs"];
    DetectOptions options{.root = root_,
                          .affinity = std::stoi(inputs["affinity"].text),
                          .mem_total = std::stoull(inputs["mem_total"].text),
                          .page_size = std::stoull(inputs["page_size"].text)};
    options.environment = [](const char*) { return std::nullopt; };
    return options;
  }

  // Compares what `plimsoll limits --json` would print with one "expect" object.
  void ExpectFound(const JsonValue& expect) const {
    const std::string printed = ToJson(Detect(Options()));
    const absl::StatusOr<JsonValue> found = ParseJson(printed);
    ASSERT_TRUE(found.ok()) << found.status() << "\n" << printed;
    for (const auto& [key, value] : expect.members) {
      ASSERT_TRUE(found->members.contains(key)) << key;
      if (key == "diagnostics") {
        std::set<std::string> want, got;
        for (const JsonValue& code : value.items) want.insert(code.text);
        for (const JsonValue& code : (*found)[key].items) got.insert(code.text);
        EXPECT_EQ(got, want) << (*found)["diagnostic_texts"].Text();
      } else {
        EXPECT_TRUE((*found)[key] == value)
            << key << ": found " << (*found)[key].Text() << ", expected " << value.Text();
      }
    }
  }

  std::string root_;
  JsonValue expected_;
};

TEST_P(LayoutTest, YieldsEachExpectedKey) {
  ASSERT_FALSE(expected_["expect"].members.empty());
  ExpectFound(expected_["expect"]);
}

class ResizedLayoutTest : public LayoutTest {};

TEST_P(ResizedLayoutTest, FollowsEachStep) {
  for (const JsonValue& step : expected_["resize"].items) {
    for (const auto& [path, text] : step["write"].members) {
      std::ofstream(root_ + path, std::ios::binary) << text.text;
    }
    ExpectFound(step["expect"]);
  }
}

std::string TestName(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Layouts, LayoutTest, testing::ValuesIn(LayoutNames()), TestName);
INSTANTIATE_TEST_SUITE_P(Layouts, ResizedLayoutTest, testing::ValuesIn(LayoutNames("\"resize\":")),
                         TestName);

TEST(LayoutsTest, ThereAreTheFifteenCommonOnesAndOurOwn) {
  EXPECT_GE(LayoutNames().size(), 30u);
  EXPECT_GE(LayoutNames("\"resize\":").size(), 2u);
}

}  // namespace
}  // namespace plimsoll::container
