#include "plimsoll/container/cgroup/files.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "plimsoll/container/cgroup/fake_files.h"

namespace plimsoll::container {
namespace {

class SystemFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/files-XXXXXX";
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
    std::filesystem::create_directories(root_ + "/in/dir");
    std::ofstream(root_ + "/in/file") << "text\n";
    std::ofstream(root_ + "/secret") << "secret\n";
    std::filesystem::create_symlink("/file", root_ + "/in/absolute");
    std::filesystem::create_symlink("../../../../file", root_ + "/in/dir/up");
    std::filesystem::create_symlink("../secret", root_ + "/in/out");
    std::filesystem::create_symlink("cycle", root_ + "/in/cycle");
    ASSERT_EQ(mkfifo((root_ + "/in/fifo").c_str(), 0600), 0);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string root_;
};

TEST_F(SystemFilesTest, ReadsBelowTheRootAndNeverOutsideIt) {
  SystemFiles files(root_ + "/in/");
  EXPECT_EQ(ReadFile(files, "/file", 100, ReadStyle::kToEnd).text, "text\n");
  EXPECT_EQ(ReadFile(files, "/absolute", 100, ReadStyle::kToEnd).text, "text\n");
  EXPECT_EQ(ReadFile(files, "/dir/up", 100, ReadStyle::kToEnd).text, "text\n");
  EXPECT_EQ(ReadFile(files, "/out", 100, ReadStyle::kToEnd).error, ENOENT);
  EXPECT_EQ(ReadFile(files, "/../secret", 100, ReadStyle::kToEnd).error, ENOENT);
}

TEST_F(SystemFilesTest, TellsErrorsApartAndWaitsForNothing) {
  SystemFiles files(root_ + "/in");
  EXPECT_TRUE(ReadFile(files, "/none", 100, ReadStyle::kToEnd).missing());
  EXPECT_EQ(ReadFile(files, "/cycle", 100, ReadStyle::kToEnd).error, ELOOP);
  EXPECT_EQ(ReadFile(files, "/dir", 100, ReadStyle::kToEnd).error, EISDIR);
  EXPECT_EQ(ReadFile(files, "/file/x", 100, ReadStyle::kToEnd).error, ENOTDIR);
  EXPECT_EQ(ReadFile(files, "/fifo", 100, ReadStyle::kToEnd).error, ESPIPE);
  EXPECT_EQ(files.IsDirectory("/dir"), 1);
  EXPECT_EQ(files.IsDirectory("/file"), -ENOTDIR);
  EXPECT_EQ(files.IsDirectory("/none"), -ENOENT);
}

TEST_F(SystemFilesTest, AnswersForARootThatIsNotThere) {
  SystemFiles files(root_ + "/nowhere");
  EXPECT_EQ(ReadFile(files, "/file", 100, ReadStyle::kToEnd).error, ENOENT);
}

TEST(ReadFileTest, StopsAtTheLimitAndSaysSo) {
  FakeFiles files;
  files.Write("/f", "12345");
  EXPECT_FALSE(ReadFile(files, "/f", 5, ReadStyle::kToEnd).truncated);
  const FileText cut = ReadFile(files, "/f", 4, ReadStyle::kToEnd);
  EXPECT_TRUE(cut.truncated);
  EXPECT_EQ(cut.text, "1234");
  EXPECT_EQ(files.open_handles(), 0);
}

TEST(ReadFileTest, JoinsShortReads) {
  FakeFiles files;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "line\n";
  files.Write("/f", text);
  files.set_chunk(7);
  EXPECT_EQ(ReadFile(files, "/f", 100000, ReadStyle::kToEnd).text, text);
}

TEST(ReadFileTest, ReturnsNoTextWhenAReadFails) {
  FakeFiles files;
  files.Write("/f", "text\n");
  files.FailRead("/f", EIO);
  const FileText got = ReadFile(files, "/f", 100, ReadStyle::kOneLine);
  EXPECT_EQ(got.error, EIO);
  EXPECT_EQ(got.text, "");
  EXPECT_EQ(files.open_handles(), 0);
}

TEST(ReadFileTest, ReadsOneLineInOneRead) {
  FakeFiles files;
  files.Write("/f", "max 100000\n");
  EXPECT_EQ(ReadFile(files, "/f", 100, ReadStyle::kOneLine).text, "max 100000\n");
  EXPECT_EQ(files.calls(), 3u);  // open, read, close
}

}  // namespace
}  // namespace plimsoll::container
