"""Runs static programs of ours in an otherwise empty runc container, in a cgroup of its own.

    with ScratchContainer({"app": path}, quota=1.5, memory=128 << 20) as box:
        done = box.run(["/app", "--json"])          # stdout, stderr, returncode

Leaving the `with` removes the container, its cgroups and its files; so does SIGTERM, which becomes an
exception. What a killed run (SIGKILL) left behind, the next one removes: names hold the PID.
Unavailable says in one line why no container can be made here.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

PERIOD_US = 100_000
PREFIX = "plimsoll-box-"


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
    """Removes the cgroup `top`, and those below it, from every hierarchy."""
    for mount in cgroup_folders():
        for folder, _, _ in os.walk(os.path.join(mount, top), topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass  # a process is still leaving, or it is in use: not ours to force


def sweep():
    """Removes what runs that were killed left behind: their PID is no more."""
    names = {entry for mount in cgroup_folders() for entry in os.listdir(mount)
             if entry.startswith(PREFIX)}
    names |= {entry for entry in os.listdir(tempfile.gettempdir()) if entry.startswith(PREFIX)}
    for name in names:
        match = re.fullmatch(re.escape(PREFIX) + r"(\d+)(-.*)?", name)
        if not match or os.path.exists("/proc/" + match[1]):
            continue
        for mount in cgroup_folders():
            procs = os.path.join(mount, name, "box", "cgroup.procs")
            if os.path.exists(procs):
                with open(procs) as pids:
                    for pid in pids.read().split():
                        os.kill(int(pid), signal.SIGKILL)
        _remove_groups(name)
        shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)


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


def _raise_on_term(*unused):
    sys.exit("ended by SIGTERM")


class ScratchContainer:

    def __init__(self, programs, quota=None, memory=None, pids=None, parent=None, cgroupns=True,
                 uid=0, cgroup_mount=True, host_cgroups=False, args=None):
        """`parent`: {v1 file: value} written to the cgroup above. `host_cgroups`: the machine's
        whole cgroup tree is mounted, as for a pod that asks for it."""
        for path in programs.values():
            check_static(path)
        check_available()
        signal.signal(signal.SIGTERM, _raise_on_term)
        sweep()
        self.name = "%s%d" % (PREFIX, os.getpid())
        self.folder = os.path.join(tempfile.gettempdir(), self.name + "-files")
        self._parent = parent or {}
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
        return subprocess.Popen(
            self._runc("run", "--bundle", self.folder, self.name), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def run(self, args, timeout=60):
        with self.start(args) as process:
            out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def kill(self, name):
        subprocess.run(self._runc("kill", self.name, name), check=True)

    def remove(self):
        if os.path.isdir(os.path.join(self.folder, "state")):
            subprocess.run(self._runc("delete", "--force", self.name), check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _remove_groups(self.name)
        shutil.rmtree(self.folder, ignore_errors=True)
