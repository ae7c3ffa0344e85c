#include "plimsoll/container/limits_report.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plimsoll/container/cgroup/fake_files.h"
#include "plimsoll/container/cgroup/json_value.h"
#include "plimsoll/container/json_writer.h"
#include "plimsoll/container/limits_json.h"

namespace plimsoll::container {
namespace {

Limits DetectIn(FakeFiles& files) {
  DetectOptions options{.affinity = 8, .mem_total = uint64_t{16} << 30, .page_size = 4096};
  options.files = &files;
  options.environment = [](const char*) { return std::nullopt; };
  return Detect(options);
}

FakeFiles NestedV2() {
  FakeFiles files;
  files.Write("/proc/self/cgroup", "0::/pod/c\n");
  files.Write("/proc/self/mountinfo", "30 23 0:28 / /cg ro - cgroup2 cgroup rw\n");
  files.Write("/cg/cpu.max", "max 100000\n");
  files.Write("/cg/pod/cpu.max", "150000 100000\n");
  files.Write("/cg/pod/c/cpu.max", "lots 100000\n");
  files.Write("/cg/pod/c/memory.max", "134217728\n");
  files.Write("/cg/pod/c/memory.high", "100663296\n");
  files.Write("/cg/pod/pids.max", "64\n");
  return files;
}

TEST(ReportTest, SaysInPlainWordsWhatWasFoundAndWhere) {
  FakeFiles files = NestedV2();
  const std::vector<std::string> want = {
      "CPU and memory by cgroup v2, own directory /cg/pod/c",
      "quota 1.5 CPUs at /cg/pod (cpu.max), 1 level above our own, period 100 ms",
      "P = 2 (quota 1.5 CPUs rounded up, at least 2; affinity mask of 8 CPUs)",
      "memory limit 128 MiB at /cg/pod/c (memory.max), our own level",
      "memory throttled above 96 MiB at /cg/pod/c (memory.high), our own level",
      "at most 64 tasks at /cg/pod (pids.max), 1 level above our own",
      "ignored [bad-value] /cg/pod/c/cpu.max: quota \"lots\" is not a positive number of "
      "microseconds; this level is ignored",
  };
  EXPECT_EQ(Report(DetectIn(files)), want);
}

TEST(ReportTest, SaysWhenThereIsNoLimit) {
  FakeFiles files;
  files.Write("/proc/self/cgroup", "3:cpu:/\n0::/\n");
  files.Write("/proc/self/mountinfo", "30 23 0:28 / /cpu ro - cgroup cgroup rw,cpu\n");
  files.Write("/cpu/cpu.cfs_quota_us", "-1\n");
  const std::vector<std::string> lines = Report(DetectIn(files));
  ASSERT_GE(lines.size(), 4u);
  EXPECT_EQ(lines[0],
            "CPU by cgroup v1, own directory /cpu; memory by cgroup v2, own directory unknown");
  EXPECT_EQ(lines[1], "no CPU quota found");
  EXPECT_EQ(lines[2], "P = 8 (no quota; affinity mask of 8 CPUs)");
  EXPECT_EQ(lines[3], "no memory limit found");
}

TEST(ReportTest, ShowsTheTreeFromTheMountPointInwardsWithTheTightestMarked) {
  FakeFiles files = NestedV2();
  const std::vector<std::string> lines = ReportTree(DetectIn(files));
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  const size_t mount = text.find("\n  /cg\n");
  const size_t pod = text.find("\n    pod\n");
  const size_t own = text.find("\n      c  (own)\n");
  EXPECT_TRUE(mount < pod && pod < own && own != std::string::npos) << text;
  EXPECT_NE(text.find("* cpu.max"), std::string::npos) << text;
  EXPECT_NE(text.find("(not understood)"), std::string::npos) << text;
}

// Whoever may make a cgroup chooses its name, and a mount point may hold a newline too.
TEST(ReportTest, NamesCannotForgeALineOrCommandATerminal) {
  FakeFiles files;
  files.Write("/proc/self/cgroup", "0::/p\x1b]0;x\x07/c (cpu.max), our own level\n");
  files.Write("/proc/self/mountinfo",
              "30 23 0:28 / /cg\\012P\\040=\\0409 ro - cgroup2 cgroup rw\n");
  const std::string own = "/cg\nP = 9/p\x1b]0;x\x07/c (cpu.max), our own level";
  files.Write(own + "/cpu.max", "150000 100000\n");
  files.Write(own + "/memory.max", "\x1b[2Jmax\n");
  files.Write(own + "/pids.max", "7\n");
  files.Write(own + "/cpuset.cpus.effective", "0\x1b[2J\n");
  const Limits limits = DetectIn(files);
  EXPECT_EQ(limits.procs.value, 2);
  EXPECT_EQ(limits.cpu.quota->at, own) << "a program gets the name as it is";
  std::vector<std::string> lines = Report(limits);
  for (const std::string& line : ReportTree(limits)) lines.push_back(line);
  for (const Diagnostic& diagnostic : limits.diagnostics) lines.push_back(diagnostic.text);
  EXPECT_GE(lines.size(), 12u);
  for (const std::string& line : lines) {
    for (const char c : line) EXPECT_TRUE(c >= ' ' && c < 0x7f) << line;
  }
  EXPECT_EQ(lines[1],
            "quota 1.5 CPUs at \"/cg\\nP = 9/p\\x1b]0;x\\x07/c (cpu.max), our own level\" "
            "(cpu.max), our own level, period 100 ms");
}

TEST(LimitsJsonTest, HoldsTheSameFacts) {
  FakeFiles files = NestedV2();
  const std::string text = ToJson(DetectIn(files));
  const absl::StatusOr<JsonValue> json = ParseJson(text);
  ASSERT_TRUE(json.ok()) << json.status() << text;
  const std::vector<std::pair<std::string, std::string>> want = {
      {"procs", "2"},
      {"procs_source", "\"cgroup\""},
      {"quota", "[3,2]"},
      {"quota_at", "\"/cg/pod\""},
      {"quota_file", "\"/cg/pod/cpu.max\""},
      {"period_us", "100000"},
      {"cpu_version", "\"v2\""},
      {"cpu_dir", "\"/cg/pod/c\""},
      {"memory_max", "134217728"},
      {"memory_max_file", "\"/cg/pod/c/memory.max\""},
      {"memory_high", "100663296"},
      {"mem_limit", "100663296"},
      {"heap_90pct", "120795955"},
      {"pids_max", "64"},
      {"swap_max", "null"},
      {"cpuset", "null"},
      {"affinity", "8"},
      {"diagnostics", "[\"bad-value\"]"},
  };
  for (const auto& [key, value] : want) EXPECT_EQ((*json)[key].Text(), value) << key;
  EXPECT_EQ((*json)["trees"].items.size(), 1u);
}

TEST(JsonWriterTest, WritesValidUtf8WhateverTheBytes) {
  const std::pair<std::string_view, std::string_view> kCases[] = {
      {"caf\xc3\xa9", "\"caf\xc3\xa9\""},
      {"\xe2\x82\xac \xf0\x9f\x9a\xa2", "\"\xe2\x82\xac \xf0\x9f\x9a\xa2\""},
      {"\xff\xfe", R"("\ufffd\ufffd")"},
      {"\xc0\xaf", R"("\ufffd\ufffd")"},                      // overlong
      {"\xed\xa0\x80", R"("\ufffd\ufffd\ufffd")"},            // a surrogate
      {"\xf4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},  // beyond U+10FFFF
      {"\xe0\x80\x80", R"("\ufffd\ufffd\ufffd")"},
      {"\xf0\x80\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},
      {"\xe2\x82", R"("\ufffd\ufffd")"},            // cut short
      {"\xc2\x9b\xc2\xa0", "\"\\u009b\xc2\xa0\""},  // C1 commands a terminal
      {"\xe2\x80\xae", R"("\u202e")"},              // turns the text that follows
      {"\"\\\n\x01\x7f", R"("\"\\\n\u0001\u007f")"},
  };
  for (const auto& [text, json] : kCases) {
    JsonWriter writer;
    writer.String(text);
    EXPECT_EQ(std::move(writer).Take(), json);
  }
}

TEST(JsonWriterTest, SeparatesWhatItHolds) {
  JsonWriter json;
  json.BeginObject();
  json.Key("a").BeginArray().Number(-1).Unsigned(2).Null().Bool(true).EndArray();
  json.Key("b").BeginObject().Key("c").String("d").EndObject();
  json.Key("e").BeginArray().EndArray();
  json.EndObject();
  EXPECT_EQ(std::move(json).Take(),
            "{\n \"a\": [-1, 2, null, true],\n \"b\": {\"c\": \"d\"},\n \"e\": []\n}");
}

}  // namespace
}  // namespace plimsoll::container
