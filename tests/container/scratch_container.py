"""Runs static programs of ours in an otherwise empty runc container, in a cgroup of its own.

    with ScratchContainer({"app": path}, quota=1.5, memory=128 << 20) as box:
        done = box.run(["/app", "--json"])          # stdout, stderr, returncode

Leaving the `with` removes the container, its cgroups and its files; so does SIGTERM, which becomes
an exception. A run that is killed (SIGKILL) is cleaned up after by a guardian, a process in a session
of its own that waits for its end; what even that cannot do, the next run does: names hold the PID.
Unavailable says in one line why no container can be made here.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

PERIOD_US = 100_000
PREFIX = "plimsoll-box-"
PATIENCE_TENTHS = 100


class Unavailable(Exception):
    """No container can be made here."""


def v1_mounts():
    """{controller: mount point} of the cgroup v1 file systems mounted here."""
    found = {}
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            kind, _, options = after.rstrip("\n").split(" ", 2)
            if kind == "cgroup":
                for name in options.split(","):
                    found.setdefault(name, before.split(" ")[4])
    return found


def cgroup_folders():
    folders = set(v1_mounts().values())
    with open("/proc/self/mounts") as lines:
        folders |= {line.split(" ")[1] for line in lines if line.split(" ")[2] == "cgroup2"}
    return sorted(folders)


def _remove_groups(top):
    """Ends what runs in the cgroup `top` or below, and removes it everywhere. True: it is gone."""
    gone = True
    for mount in cgroup_folders():
        for folder, _, _ in os.walk(os.path.join(mount, top), topdown=False):
            try:
                with open(os.path.join(folder, "cgroup.procs")) as pids:
                    for pid in pids.read().split():
                        os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass  # it ended, or the group did
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                pass
            except OSError:
                gone = False  # a process is still on its way out
    return gone


def _remove_all(name, folder):
    """A container that is just being made may put back what was removed: until nothing is left."""
    for _ in range(PATIENCE_TENTHS):
        gone = _remove_groups(name)
        shutil.rmtree(folder, ignore_errors=True)
        if gone and not os.path.exists(folder):
            return
        time.sleep(0.1)


def sweep():
    """Removes what runs that were killed left behind: their PID is no more."""
    names = {entry for mount in cgroup_folders() for entry in os.listdir(mount)
             if entry.startswith(PREFIX)}
    names |= {entry for entry in os.listdir(tempfile.gettempdir()) if entry.startswith(PREFIX)}
    for name in names:
        match = re.fullmatch(re.escape(PREFIX) + r"(\d+)(-.*)?", name)
        if not match or os.path.exists("/proc/" + match[1]):
            continue
        name = PREFIX + match[1]
        _remove_all(name, os.path.join(tempfile.gettempdir(), name + "-files"))


def check_available():
    if os.geteuid() != 0:
        raise Unavailable("not root: runc cannot make cgroups")
    if not find_runc():
        raise Unavailable("runc is not installed (tools/bring_tools.sh)")
    with open("/proc/self/mountinfo") as lines:
        if not any(line.split(" ")[4] == "/" for line in lines):
            raise Unavailable("the root is no mount point, as in a chroot; runc needs one")
    if "cpu" not in v1_mounts():
        raise Unavailable("the cpu controller is not on cgroup v1 here")
    probe = os.path.join(v1_mounts()["cpu"], "%s%d" % (PREFIX, os.getpid()))
    try:
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError as error:
        raise Unavailable("no cgroup can be made: %s" % error) from None


def check_static(path):
    """A sanitizer's program is dynamic, and cannot run in an empty root."""
    with open(path, "rb") as program:
        if b"/ld-linux" in program.read(4096):
            raise Unavailable("%s is not static (a sanitizer's build)" % os.path.basename(path))


def find_runc():
    return shutil.which("runc", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def die_with_parent():
    """For subprocess's preexec_fn: a killed test leaves no runc and no machine running."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def end_on_sigterm():
    """SIGTERM (a test that ran out of time) unwinds as Ctrl-C does; unittest survives SystemExit."""

    def unwind(*unused):
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, unwind)


class ScratchContainer:

    def __init__(self, programs, quota=None, memory=None, pids=None, parent=None, cgroupns=True,
                 uid=0, cgroup_mount=True, host_cgroups=False):
        """`parent`: {v1 file: value} written to the cgroup above. `host_cgroups`: the machine's
        whole cgroup tree is mounted, as for a pod that asks for it."""
        for path in programs.values():
            check_static(path)
        check_available()
        end_on_sigterm()
        sweep()
        self.name = "%s%d" % (PREFIX, os.getpid())
        self.folder = os.path.join(tempfile.gettempdir(), self.name + "-files")
        self._parent = parent or {}
        self._guardian = self._dismissal = self._process = None
        self._post_guardian()
        try:
            self._make(programs)
            self._config = self._configuration(quota, memory, pids, cgroupns, uid, cgroup_mount,
                                               host_cgroups)
        except BaseException:
            self.remove()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()

    def _post_guardian(self):
        wait, self._dismissal = os.pipe()
        self._guardian = os.fork()
        if self._guardian:
            os.close(wait)
            return
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):  # whoever reads our output must not wait for this process
                os.dup2(null, fd)
            os.close(self._dismissal)
            if os.read(wait, 1) == b"":  # its end closed the pipe; a dismissal is a byte
                self._dismissal = None
                self.remove()
        finally:
            os._exit(0)

    def _dismiss_guardian(self):
        if self._dismissal is not None:
            os.write(self._dismissal, b".")
            os.close(self._dismissal)
            os.waitpid(self._guardian, 0)
            self._dismissal = None

    def _make(self, programs):
        root = os.path.join(self.folder, "rootfs")
        for name in ("proc", "sys", "dev", "hostcg"):
            os.makedirs(os.path.join(root, name))
        os.chmod(self.folder, 0o755)  # the user inside walks down to its root
        for name, path in programs.items():
            shutil.copy(path, os.path.join(root, name))
            os.chmod(os.path.join(root, name), 0o755)
        for file, value in self._parent.items():
            group = os.path.join(v1_mounts()[file.split(".")[0]], self.name)
            os.makedirs(group, exist_ok=True)
            with open(os.path.join(group, file), "w") as out:
                out.write(str(value))

    def _configuration(self, quota, memory, pids, cgroupns, uid, cgroup_mount, host_cgroups):
        resources = {"devices": [{"allow": False, "access": "rwm"}]}
        if quota is not None:
            resources["cpu"] = {"quota": round(quota * PERIOD_US), "period": PERIOD_US}
        if memory is not None:
            resources["memory"] = {"limit": memory}
        if pids is not None:
            resources["pids"] = {"limit": pids}
        mounts = [{"destination": "/proc", "type": "proc", "source": "proc"},
                  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                   "options": ["nosuid", "mode=755", "size=64k"]}]
        if cgroup_mount:
            options = ["nosuid", "noexec", "nodev", "ro"]
            mounts.append({"destination": "/sys", "type": "sysfs", "source": "sysfs",
                           "options": options})
            mounts.append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                           "options": options})
        if host_cgroups:
            mounts.append({"destination": "/hostcg", "type": "bind", "source": "/sys/fs/cgroup",
                           "options": ["rbind", "ro"]})
        namespaces = ["pid", "ipc", "mount", "network"] + (["cgroup"] if cgroupns else [])
        return {
            "ociVersion": "1.0.2",
            "process": {"terminal": False, "user": {"uid": uid, "gid": uid}, "cwd": "/",
                        "env": ["PATH=/"], "capabilities": {}, "noNewPrivileges": True},
            "root": {"path": "rootfs", "readonly": True},
            "mounts": mounts,
            "linux": {"cgroupsPath": "/%s/box" % self.name, "resources": resources,
                      "namespaces": [{"type": kind} for kind in namespaces]},
        }

    def _runc(self, *arguments):
        return [find_runc(), "--root", os.path.join(self.folder, "state"), *arguments]

    def start(self, args):
        """A Popen of `runc run`; signals for the container go through kill()."""
        self._config["process"]["args"] = args
        with open(os.path.join(self.folder, "config.json"), "w") as out:
            json.dump(self._config, out)
        self._process = subprocess.Popen(
            self._runc("run", "--bundle", self.folder, self.name), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=die_with_parent)
        return self._process

    def run(self, args, timeout=60):
        process = self.start(args)
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            self._delete()  # or the wait for `runc run` would be one for the program
            process.communicate()
            raise
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def kill(self, name):
        subprocess.run(self._runc("kill", self.name, name), check=True)

    def _delete(self):
        if os.path.isdir(os.path.join(self.folder, "state")):
            subprocess.run(self._runc("delete", "--force", self.name), check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def remove(self):
        if self._process and self._process.poll() is None:
            self._process.kill()  # it may still be making the container
        self._delete()
        _remove_all(self.name, self.folder)
        self._dismiss_guardian()
