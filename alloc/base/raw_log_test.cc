#include "plimsoll/alloc/base/raw_log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"

namespace plimsoll::base {
namespace {

// A pipe that nobody reads.
int BrokenPipe() {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  close(ends[0]);
  return ends[1];
}

bool SigPipeIsPending() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGPIPE) == 1;
}

bool SigPipeIsBlocked() {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, SIGPIPE) == 1;
}

TEST(RawTextTest, WhatComesFromOutsideIsQuotedAndCountsHaveTheirPlural) {
  const struct {
    std::string text, quoted;
  } kCases[] = {
      {"", R"("")"},
      {"kqueue", R"("kqueue")"},
      {"a\"b\\c\t\n", R"("a\"b\\c\t\n")"},
      {std::string("\0\x1b[31m\x7f\x9b", 8), R"("\x00\x1b[31m\x7f\x9b")"},
      {std::string(97, 'x'), "\"" + std::string(96, 'x') + "\"... (97 bytes)"},
  };
  for (const auto& c : kCases) {
    RawText text;
    text.Add(Quoted{c.text});
    EXPECT_EQ(text.view(), c.quoted);
  }
  RawText counts;
  for (const uint64_t n : {0, 1, 2}) counts.Add(Counted{n, "byte"});
  EXPECT_EQ(counts.view(), "0 bytes1 byte2 bytes");
}

TEST(RawLogTest, ALineThatNobodyReadsIsLostAndNothingElseHappens) {
  signal(SIGPIPE, SIG_DFL);  // would end this test
  const int fd = BrokenPipe();
  errno = ENOTTY;
  RawWrite(fd, "lost\n");
  EXPECT_EQ(errno, ENOTTY);
  EXPECT_FALSE(SigPipeIsPending());
  EXPECT_FALSE(SigPipeIsBlocked());
  close(fd);
}

TEST(RawLogTest, AFullPipeLosesLinesInsteadOfStoppingTheirWritersAndSaysSoLater) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_NONBLOCK), 0);
  const int size = fcntl(ends[1], F_SETPIPE_SZ, 4096);
  ASSERT_GT(size, 0);
  const std::string full(static_cast<size_t>(size), 'x');
  ASSERT_EQ(write(ends[1], full.data(), full.size()), size);
  ASSERT_EQ(fcntl(ends[1], F_SETFL, 0), 0);  // from now on a write would block
  const int before = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  RawLog("lost one");
  RawLog("lost two");
  std::string said(2 * full.size(), '\0');
  EXPECT_EQ(read(ends[0], said.data(), said.size()), size);
  RawLog("comes through");
  dup2(before, STDERR_FILENO);
  const ssize_t n = read(ends[0], said.data(), said.size());
  ASSERT_GT(n, 0);
  said.resize(static_cast<size_t>(n));
  EXPECT_EQ(said, "2 lines before this one were lost: nobody read them\ncomes through\n");
  close(before);
  close(ends[0]);
  close(ends[1]);
}

TEST(RawLogTest, ASigPipeThatTheCallerHoldsBackStaysPending) {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &mask, nullptr);
  raise(SIGPIPE);
  const int fd = BrokenPipe();
  RawWrite(fd, "lost\n");
  EXPECT_TRUE(SigPipeIsPending());
  EXPECT_TRUE(SigPipeIsBlocked());
  close(fd);
  int taken = 0;
  sigwait(&mask, &taken);
  pthread_sigmask(SIG_UNBLOCK, &mask, nullptr);
}

TEST(RawLogTest, ALineThatIsTooLongEndsInDots) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  RawText text;
  text.Add(std::string(5000, 'x'));
  text.Add("behind");
  RawWrite(ends[1], text.view());
  std::string got(6000, '\0');
  got.resize(static_cast<size_t>(read(ends[0], got.data(), got.size())));
  EXPECT_LE(got.size(), 1000u);
  EXPECT_TRUE(got.ends_with("x..."));
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace plimsoll::base
