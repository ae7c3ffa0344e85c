// A Child is a program that a test runs: its stderr is read line by line, its end is waited for.
//
//   Child service({Runfile("examples/service/service"), "--port", "0"});
//   std::string line = service.WaitForLine("listening on ");
//   service.Kill(SIGTERM);
//   EXPECT_EQ(service.Wait(), 0);
//
// Patience: a minute in all; then the child is killed and what is missing is empty.
// Threads:  one.
#ifndef PLIMSOLL_TESTS_INTEGRATION_CHILD_H_
#define PLIMSOLL_TESTS_INTEGRATION_CHILD_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::testing {

class Child {
 public:
  // `before_exec` runs in the child, after fork: system calls only.
  explicit Child(std::vector<std::string> command,
                 const std::function<void()>& before_exec = nullptr);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // The next line of stderr, or of what was read of it, that holds `text`; "" if the child ends
  // before there is one.
  std::string WaitForLine(std::string_view text);

  void Kill(int signal) const;

  // Ends our side of its stderr: what it writes there from now on meets a broken pipe.
  void CloseErr();

  // The exit code, or 128 + the signal that ended it. All of stdout and stderr is read by then.
  int Wait();

  // What was read so far.
  const std::string& err() const { return err_; }
  const std::string& out() const { return out_; }

 private:
  bool ReadMore();

  pid_t pid_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  std::string out_, err_;
  size_t searched_ = 0;  // of err_, by WaitForLine
  int64_t deadline_ms_;
};

// The path of a file that the test names in `data`, from its place in the workspace.
std::string Runfile(std::string_view path);

}  // namespace plimsoll::testing

#endif  // PLIMSOLL_TESTS_INTEGRATION_CHILD_H_
