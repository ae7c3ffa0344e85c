// vm_init: the first process of a virtual machine that has nothing but cgroup v2 and our programs.
//
//   /sys/fs/cgroup/kubepods            cpu.max 150000 100000   memory.max 512 MiB
//   /sys/fs/cgroup/kubepods/pod        memory.high 96 MiB
//   /sys/fs/cgroup/kubepods/pod/box    cpu.max 250000 100000   memory.max 128 MiB   pids.max 64
//
// Runs each scene's program in box and prints, for v2_vm_test.py:
//   @@ begin NAME
//   (what the program wrote)
//   @@ end NAME CODE at MILLISECONDS
// and then powers the machine off.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

namespace {

const std::string kMount = "/sys/fs/cgroup";
const std::string kParent = kMount + "/kubepods";
const std::string kPod = kParent + "/pod";
const std::string kBox = kPod + "/box";

long long NowMs() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1'000'000;
}

void Write(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    printf("@@ trouble: %s <- %s: %s\n", path.c_str(), text.c_str(), strerror(errno));
  }
  if (fd >= 0) close(fd);
}

void Mount(const char* what, const char* where, const char* options = nullptr) {
  mkdir(where, 0755);
  if (mount(what, where, what, 0, options) != 0) {
    printf("@@ trouble: mount %s on %s: %s\n", what, where, strerror(errno));
  }
}

// What of the machine's cgroups a program sees.
enum class View {
  kHost,          // the machine's cgroup namespace and mount
  kForeignMount,  // a namespace of its own, over the machine's mount
  kContainer,     // a namespace and a mount of its own
};

void Enter(View view) {
  Write(kBox + "/cgroup.procs", "0");
  if (view == View::kHost) return;
  if (unshare(CLONE_NEWCGROUP) != 0) perror("@@ trouble: unshare(CLONE_NEWCGROUP)");
  if (view == View::kForeignMount) return;
  if (unshare(CLONE_NEWNS) != 0) perror("@@ trouble: unshare(CLONE_NEWNS)");
  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  umount2(kMount.c_str(), MNT_DETACH);
  if (mount("cgroup2", kMount.c_str(), "cgroup2", MS_RDONLY | MS_NOSUID, nullptr) != 0) {
    perror("@@ trouble: mount cgroup2");
  }
}

// `on_line` sees each line of the program before it is printed; false ends the program.
void Scene(const char* name, View view, const std::vector<const char*>& command,
           const std::function<bool(const std::string&)>& on_line = nullptr) {
  printf("@@ begin %s\n", name);
  fflush(stdout);
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return;
  const pid_t pid = fork();
  if (pid == 0) {
    Enter(view);
    fflush(stdout);
    dup2(out[1], STDOUT_FILENO);
    std::vector<char*> argv;
    argv.reserve(command.size() + 1);
    for (const char* arg : command) argv.push_back(const_cast<char*>(arg));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(out[1]);
  FILE* lines = fdopen(out[0], "r");
  char* line = nullptr;
  size_t capacity = 0;
  while (getline(&line, &capacity, lines) > 0) {
    if (on_line && !on_line(line)) kill(pid, SIGKILL);
    fputs(line, stdout);
  }
  free(line);
  fclose(lines);
  int status = 0;
  waitpid(pid, &status, 0);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  printf("@@ end %s %d at %lld ms\n", name, code, NowMs());
  fflush(stdout);
}

}  // namespace

int main() {
  Mount("proc", "/proc");
  Mount("sysfs", "/sys");
  Mount("devtmpfs", "/dev");
  if (const int console = open("/dev/console", O_RDWR); console >= 0) {
    for (int fd = 0; fd < 3; ++fd) dup2(console, fd);
  }
  setvbuf(stdout, nullptr, _IOFBF, 1 << 16);
  printf("@@ boot %lld ms\n", NowMs());
  Mount("cgroup2", kMount.c_str());
  const char kControllers[] = "+cpu +memory +pids +cpuset";
  Write(kMount + "/cgroup.subtree_control", kControllers);
  for (const std::string& group : {kParent, kPod}) {
    mkdir(group.c_str(), 0755);
    Write(group + "/cgroup.subtree_control", kControllers);
  }
  mkdir(kBox.c_str(), 0755);
  Write(kParent + "/cpu.max", "150000 100000");
  Write(kParent + "/memory.max", "536870912");
  Write(kPod + "/memory.high", "100663296");
  Write(kBox + "/cpu.max", "250000 100000");
  Write(kBox + "/memory.max", "134217728");
  Write(kBox + "/pids.max", "64");

  const std::vector<const char*> limits = {"/plimsoll", "limits", "--json"};
  Scene("host", View::kHost, limits);
  Scene("foreign-mount", View::kForeignMount, limits);
  Scene("container", View::kContainer, limits);

  // A resize in place, of the level above: seen from the moment of the write on.
  Scene("resize", View::kHost, {"/probe", "watch", "30"}, [](const std::string& line) {
    if (line.find("ready") != std::string::npos) {
      Write(kParent + "/cpu.max", "50000 100000");
      printf("{\"resized_at_ms\": %lld}\n", NowMs());
    }
    return line.find("quota_before") == std::string::npos;
  });

  Scene("wall-clock", View::kHost, {"/wall_clock"});

  Scene("tasks", View::kContainer, {"/probe", "tasks"});

  Write(kBox + "/memory.high", "33554432");
  Scene("events", View::kContainer, {"/probe", "events", "100"});
  Write(kBox + "/memory.high", "max");

  // Half a CPU by the level above: once in sight, once out of sight.
  Write(kBox + "/cpu.max", "max");
  Write(kParent + "/cpu.max", "50000 100000");
  Scene("throttled", View::kHost, {"/probe", "pressure", "2", "2"});
  Scene("hidden", View::kContainer, {"/probe", "pressure", "2", "3"});

  printf("@@ done %lld ms\n", NowMs());
  fflush(stdout);
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}
