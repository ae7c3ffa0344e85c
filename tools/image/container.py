"""Runs a bundle in runc, in a cgroup of its own, and removes all that it made.

    with bundle.Bundle("service.tar") as image:
        with container.Container(image, "demo", cpus=1.5, memory=128 << 20) as running:
            running.stderr.readline()
            running.kill(signal.SIGTERM)
            status = running.wait()

The container has a read-only root, the image's user, no capabilities, no_new_privs and, unless told
otherwise, the host's network and cgroup namespaces. Leaving the `with` removes it, its cgroups and
its files, whatever happened; after a SIGKILL of this process its guardian does (guardian.py).
ContainerError says why no container can be made here.
"""

import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading

import guardian

PERIOD_US = 100_000
_PR_SET_CHILD_SUBREAPER = 36

cgroup_mounts = guardian.cgroup_mounts


class ContainerError(Exception):
    """No container can be made here; the text is one line that says why."""


def v1_mounts():
    """{controller: mount point} of the cgroup v1 file systems mounted here."""
    return {name: mount for mount, names in reversed(list(cgroup_mounts().items()))
            for name in names}


def root_is_mount_point():
    """False in a plain chroot, whose root no container can be moved away from."""
    with open("/proc/self/mountinfo") as lines:
        return any(line.split(" ")[4] == "/" for line in lines)


def check_available():
    """The path of runc. ContainerError: no container can be made here."""
    if os.geteuid() != 0:
        raise ContainerError("not root")
    runc = shutil.which("runc", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not runc:
        raise ContainerError("runc is not installed")
    if not root_is_mount_point():
        raise ContainerError("the root is no mount point, as in a chroot; runc needs one")
    if not cgroup_mounts():
        raise ContainerError("no cgroup file system is mounted")
    return runc


def check_v1_cpu():
    """ContainerError: the machine's cpu controller is not one of cgroup v1 that we may use."""
    check_available()
    if "cpu" not in v1_mounts():
        raise ContainerError("the cpu controller is not on cgroup v1 here")
    probe = os.path.join(v1_mounts()["cpu"], guardian.name_of("probe"))
    try:
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError as error:
        raise ContainerError("no cgroup can be made: %s" % error) from None


def check_static(path):
    """ContainerError: a sanitizer's program is dynamic, and cannot run in an empty root."""
    with open(path, "rb") as program:
        if b"/ld-linux" in program.read(4096):
            raise ContainerError("%s is not static (a sanitizer's build)" % os.path.basename(path))


# What Docker's and containerd's default profiles refuse and a runtime may want to use.
_REFUSED = ["bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "perf_event_open",
            "userfaultfd"]


def runtime_config(bundle, arguments, environment, cgroup, *, cpus=None, memory=None, pids=None,
                   uid=None, private_network=False, cgroupns=False, cgroup_mount=True,
                   host_cgroups=False):
    """config.json of the OCI runtime specification.

    No `cpus`, `memory` or `pids`: no limit. `uid`: another user than the image's. `host_cgroups`:
    the machine's whole cgroup tree is mounted at /hostcg, as for a pod that asks for it.
    """
    user, group = bundle.ids() if uid is None else (uid, uid)
    resources = {"devices": [{"allow": False, "access": "rwm"}]}
    if cpus is not None:
        resources["cpu"] = {"quota": round(cpus * PERIOD_US), "period": PERIOD_US}
    if memory is not None:
        resources["memory"] = {"limit": memory}
    if pids is not None:
        resources["pids"] = {"limit": pids}

    def mount(destination, kind, *options):
        return {"destination": destination, "type": kind, "source": kind,
                "options": ["nosuid", "noexec", "nodev"] + list(options)}

    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=64k"]},
    ]
    if cgroup_mount:
        mounts += [mount("/sys", "sysfs", "ro"), mount("/sys/fs/cgroup", "cgroup", "relatime", "ro")]
    if host_cgroups:
        mounts.append({"destination": "/hostcg", "type": "bind", "source": "/sys/fs/cgroup",
                       "options": ["rbind", "ro"]})
    # With the host's cgroup namespace the path that is seen inside is the one seen outside; with
    # its network a port of the service is a port of this machine.
    namespaces = ["pid", "ipc", "mount"]
    namespaces += ["network"] if private_network else []
    namespaces += ["cgroup"] if cgroupns else []
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": user, "gid": group},
            "args": bundle.config.get("Entrypoint", []) + (
                bundle.config.get("Cmd", []) if arguments is None else arguments),
            "env": bundle.config.get("Env", []) + environment,
            "cwd": bundle.config.get("WorkingDir", "/"),
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": mounts,
        "linux": {
            "cgroupsPath": cgroup,
            "resources": resources,
            "namespaces": [{"type": kind} for kind in namespaces],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": _REFUSED, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
            },
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list",
                            "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                              "/proc/sysrq-trigger"],
        },
    }


def _run_to_end(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
    """The status of a command that is not cut short, even where a signal ends us: half a container
    could not be removed. It has a session of its own, so Ctrl-C does not reach it. ContainerError:
    it cannot be started."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                   start_new_session=True, preexec_fn=guardian.die_with_parent)
    except OSError as error:  # no such file, a format that is none, no more processes
        raise ContainerError("runc cannot be started: %s" % error) from None
    try:
        return process.wait()
    except BaseException:
        process.wait()
        raise


class Container:
    """One run of a bundle: `pid`, and what it says on `stdout` and `stderr`.

    The pid is a child of ours, by making this process a subreaper: that is how its status is read.
    """

    def __init__(self, bundle, kind, arguments=None, environment=(), parent=None, **limits):
        """`kind` is the middle of its name. `parent`: {v1 file: value} for the cgroup above its own.
        The rest: runtime_config."""
        self._runc = check_available()
        guardian.sweep(kind)
        self.name = guardian.name_of(kind)
        # Two levels, so that a limit of the parent can be told from one's own.
        self.cgroup = "/%s/service" % self.name
        self.arguments = arguments
        self.pid = self.status = self.stdout = self.stderr = None
        self._state = os.path.join(tempfile.gettempdir(), "%s-%s" % (
            self.name, secrets.token_hex(4)))
        self._root = os.path.join(self._state, "root")
        self._log = os.path.join(self._state, "log")
        self._pid_file = os.path.join(self._state, "pid")
        self._made = {"name": self.name, "runc": self._runc, "root": self._root,
                      "folder": self._state}
        guardian.watch(self._state, self._made)
        try:
            os.mkdir(self._state, 0o700)
            for file, value in (parent or {}).items():
                group = os.path.join(v1_mounts()[file.split(".")[0]], self.name)
                os.makedirs(group, exist_ok=True)
                with open(os.path.join(group, file), "w") as out:
                    out.write(str(value))
            with open(os.path.join(bundle.path, "config.json"), "w") as out:
                json.dump(runtime_config(bundle, arguments, list(environment), self.cgroup,
                                         **limits), out, indent=1)
            self._start(bundle)
        except BaseException:
            self.remove()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()

    def _command(self, *arguments):
        return [self._runc, "--root", self._root, "--log", self._log, "--log-format", "json",
                *arguments]

    def _start(self, bundle):
        # `create` does all that can be refused, and leaves the program waiting.
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise ContainerError("prctl: " + os.strerror(ctypes.get_errno()))
        read_out, write_out = os.pipe()
        read_err, write_err = os.pipe()
        self.stdout = os.fdopen(read_out, "r", errors="replace")
        self.stderr = os.fdopen(read_err, "r", errors="replace")
        try:
            status = _run_to_end(
                self._command("create", "--bundle", bundle.path, "--pid-file", self._pid_file,
                              self.name),
                stdout=write_out, stderr=write_err)
        finally:
            os.close(write_out)
            os.close(write_err)
        if status != 0:
            raise ContainerError("runc: " + self._last_error())
        with open(self._pid_file) as file:
            self.pid = int(file.read())
        if _run_to_end(self._command("start", self.name)) != 0:
            raise ContainerError("runc: " + self._last_error())

    def _last_error(self):
        """The last error that runc logged, on one line."""
        why = "failed without a word"
        try:
            with open(self._log) as lines:
                for line in lines:
                    entry = json.loads(line)
                    if entry.get("level") in ("error", "fatal"):
                        why = " ".join(entry.get("msg", why).split())
        except (OSError, ValueError):
            pass
        return why

    def kill(self, number):
        """Sends a signal to the container's first process, from the machine's side."""
        if self.status is None:
            os.kill(self.pid, number)

    def wait(self):
        """Its exit code once it has ended; minus the signal's number where a signal ended it."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def communicate(self, timeout=60):
        """Waits for its end, as subprocess.run does: returncode, stdout and stderr."""
        said = [None, None]

        def read(index, stream):
            said[index] = stream.read()

        readers = [threading.Thread(target=read, args=pair, daemon=True)
                   for pair in enumerate((self.stdout, self.stderr))]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
        late = any(reader.is_alive() for reader in readers)
        if late:  # it goes on: nothing but its end lets the readers go
            self.kill(signal.SIGKILL)
        status = self.wait()
        for reader in readers:
            reader.join()
        if late:
            raise subprocess.TimeoutExpired(self.arguments, timeout, *said)
        return subprocess.CompletedProcess(self.arguments, status, *said)

    def remove(self):
        """Ends and removes all that was made."""
        if self.pid is not None and self.status is None:
            self.kill(signal.SIGKILL)
            self.wait()
        guardian.remove(self._made)
        guardian.release(self._state)
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
