#include "plimsoll/container/init/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

absl::Status ErrnoStatus(int error, std::string_view what) {
  return absl::ErrnoToStatus(error, absl::string_view(what.data(), what.size()));
}

// Between fork and exec in a program that may have threads: async-signal-safe calls only.
[[noreturn]] void BecomeProgram(char* const argv[], const SpawnOptions& options, int report_fd) {
  if (options.own_group) {
    setpgid(0, 0);
    // No terminal, or not ours: then there is none to hand over. By now SIGTTOU must not stop us.
    sigset_t ttou;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ttou, nullptr);
    (void)tcsetpgrp(STDIN_FILENO, getpid());
    if (!options.signal_mask) sigprocmask(SIG_UNBLOCK, &ttou, nullptr);
  }
  for (const auto& [signo, action] : options.actions) sigaction(signo, &action, nullptr);
  if (options.signal_mask) sigprocmask(SIG_SETMASK, &*options.signal_mask, nullptr);
  execvp(argv[0], argv);
  const int error = errno;
  (void)!write(report_fd, &error, sizeof error);
  _exit(127);
}

// 0 once exec has closed the pipe; else the errno of the exec that failed.
int ExecError(int report_fd) {
  int error = 0;
  ssize_t n;
  do {
    n = read(report_fd, &error, sizeof error);
  } while (n < 0 && errno == EINTR);
  return n == sizeof error ? error : 0;
}

}  // namespace

absl::StatusOr<Child> Child::Spawn(Reaper& reaper, const SpawnOptions& options) {
  if (options.argv.empty()) return absl::InvalidArgumentError("spawn: no program was named");
  // Made before the fork: the child may not allocate.
  std::vector<char*> argv;
  argv.reserve(options.argv.size() + 1);
  for (const std::string& arg : options.argv) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);

  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return ErrnoStatus(errno, "spawn: pipe2");

  pid_t pid;
  int fork_errno;
  {
    Reaper::SpawnHold hold(reaper);
    pid = fork();
    fork_errno = errno;
    if (pid == 0) BecomeProgram(argv.data(), options, report[1]);
    if (pid > 0) hold.Own(pid);
  }
  close(report[1]);
  if (pid < 0) {
    close(report[0]);
    return ErrnoStatus(fork_errno, "spawn: fork");
  }
  // Here too: a signal for the group may come before the child has got as far.
  if (options.own_group) setpgid(pid, pid);

  Child child(reaper, pid, static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const int exec_error = ExecError(report[0]);
  close(report[0]);
  if (exec_error == 0) return child;
  (void)child.Wait();
  return ErrnoStatus(exec_error, Concat("exec ", Quote(options.argv[0])));
}

Child::Child(Child&& other) noexcept
    : reaper_(std::exchange(other.reaper_, nullptr)),
      pid_(other.pid_),
      pidfd_(std::exchange(other.pidfd_, -1)),
      end_(other.end_) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    Release();
    reaper_ = std::exchange(other.reaper_, nullptr);
    pid_ = other.pid_;
    pidfd_ = std::exchange(other.pidfd_, -1);
    end_ = other.end_;
  }
  return *this;
}

Child::~Child() { Release(); }

void Child::Release() {
  if (reaper_ != nullptr) reaper_->Disown(pid_);
  if (pidfd_ >= 0) close(pidfd_);
  reaper_ = nullptr;
  pidfd_ = -1;
}

absl::StatusOr<std::optional<ExitStatus>> Child::WaitWith(int flags) {
  if (end_) return end_;
  siginfo_t info{};
  int rc;
  do {
    rc = waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | flags);
  } while (rc != 0 && errno == EINTR);
  if (rc != 0) return ErrnoStatus(errno, absl::StrCat("wait for process ", pid_));
  if (info.si_pid == 0) return std::optional<ExitStatus>();
  end_ = ExitStatus::From(info);
  reaper_->Disown(pid_);
  return end_;
}

absl::StatusOr<std::optional<ExitStatus>> Child::TryWait() { return WaitWith(WNOHANG); }

absl::StatusOr<ExitStatus> Child::Wait() {
  const absl::StatusOr<std::optional<ExitStatus>> end = WaitWith(0);
  if (!end.ok()) return end.status();
  return **end;
}

absl::Status Child::Kill(int signo, bool whole_group) const {
  // The group may outlive its leader; the process may not be signalled once its PID may be
  // another's.
  if (end_ && !whole_group) {
    return absl::NotFoundError(absl::StrCat("process ", pid_, " has ", end_->Describe()));
  }
  if (kill(whole_group ? -pid_ : pid_, signo) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("send ", SignalName(signo), " to process ",
                                         whole_group ? "group " : "", pid_));
}

}  // namespace plimsoll::container
