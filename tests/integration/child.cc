#include "plimsoll/tests/integration/child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

namespace plimsoll::testing {
namespace {

int64_t NowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

// Appends what is there; false at the end.
bool Drain(int& fd, std::string& into) {
  char buffer[4096];
  const ssize_t n = read(fd, buffer, sizeof(buffer));
  if (n > 0) {
    into.append(buffer, static_cast<size_t>(n));
    return true;
  }
  if (n < 0 && errno == EINTR) return true;
  close(fd);
  fd = -1;
  return false;
}

}  // namespace

Child::Child(std::vector<std::string> command, const std::function<void()>& before_exec)
    : deadline_ms_(NowMs() + 60'000) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  int out[2], err[2];
  if (pipe(out) != 0 || pipe(err) != 0) abort();
  pid_ = fork();
  if (pid_ == 0) {
    dup2(out[1], 1);
    dup2(err[1], 2);
    for (const int fd : {out[0], out[1], err[0], err[1]}) close(fd);
    if (before_exec) before_exec();
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(out[1]);
  close(err[1]);
  out_fd_ = out[0];
  err_fd_ = err[0];
}

Child::~Child() {
  if (pid_ > 0) {
    Kill(SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (out_fd_ >= 0) close(out_fd_);
  if (err_fd_ >= 0) close(err_fd_);
}

void Child::Kill(int signal) const { kill(pid_, signal); }

void Child::CloseErr() {
  close(err_fd_);
  err_fd_ = -1;
}

bool Child::ReadMore() {
  pollfd fds[2];
  nfds_t n = 0;
  for (const int fd : {out_fd_, err_fd_}) {
    if (fd >= 0) fds[n++] = {fd, POLLIN, 0};
  }
  if (n == 0) return false;
  const int64_t left = deadline_ms_ - NowMs();
  if (left <= 0 || poll(fds, n, static_cast<int>(left)) == 0) {
    Kill(SIGKILL);
    return false;
  }
  for (nfds_t i = 0; i < n; ++i) {
    if (fds[i].revents == 0) continue;
    if (fds[i].fd == out_fd_) {
      Drain(out_fd_, out_);
    } else {
      Drain(err_fd_, err_);
    }
  }
  return true;
}

std::string Child::WaitForLine(std::string_view text) {
  while (true) {
    size_t end;
    while ((end = err_.find('\n', searched_)) != std::string::npos) {
      const std::string line = err_.substr(searched_, end - searched_);
      searched_ = end + 1;
      if (line.find(text) != std::string::npos) return line;
    }
    if (!ReadMore()) return "";
  }
}

int Child::Wait() {
  while (ReadMore()) {
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string Runfile(std::string_view path) {
  const char* root = getenv("TEST_SRCDIR");
  const char* workspace = getenv("TEST_WORKSPACE");
  if (root == nullptr || workspace == nullptr) return std::string(path);
  return std::string(root) + "/" + workspace + "/" + std::string(path);
}

}  // namespace plimsoll::testing
