"""Runs an OCI archive as a container: unpacks it into a bundle and hands it to runc.

    with container.Bundle("service.tar") as bundle:
        with container.Container(bundle, "name", cpus=1.5, memory=128 << 20) as running:
            running.stderr.readline()
            running.kill(signal.SIGTERM)
            status = running.wait()

The container has a read-only root, the image's user, no capabilities, no_new_privs, and the host's
network and cgroup namespaces. Leaving the `with` removes it, its cgroups and its files, whatever
happened. ContainerError says why no container can be made here.
"""

import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile

PERIOD_US = 100_000
_PR_SET_CHILD_SUBREAPER = 36


class ImageError(Exception):
    """The archive is not an image, or not whole."""


class ContainerError(Exception):
    """No container can be made here; the text is one line that says why."""


class Bundle:
    """An archive, unpacked: `rootfs` below `path`, and the image's own configuration."""

    def __init__(self, archive):
        self.path = tempfile.mkdtemp(prefix="plimsoll-bundle-")
        try:
            # The user inside must be able to walk down to its root.
            os.chmod(self.path, 0o755)
            self.rootfs = os.path.join(self.path, "rootfs")
            os.mkdir(self.rootfs)
            self._unpack(archive)
        except BaseException:
            self.remove()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()

    def remove(self):
        for folder, _, _ in os.walk(self.path):
            os.chmod(folder, 0o755)  # the image's folders are read-only
        shutil.rmtree(self.path, ignore_errors=True)

    def _unpack(self, archive):
        try:
            with tarfile.open(archive) as outer:
                blobs = {m.name: outer.extractfile(m).read() for m in outer if m.isfile()}
        except tarfile.TarError as error:
            raise ImageError("%s: not a tar: %s" % (archive, error)) from None

        def blob(descriptor):
            digest = descriptor["digest"]
            data = blobs.get("blobs/" + digest.replace(":", "/", 1))
            if data is None:
                raise ImageError("%s: blob %s is missing" % (archive, digest))
            if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
                raise ImageError("%s: blob %s has other content than its name says" % (
                    archive, digest))
            return data

        try:
            index = json.loads(blobs["index.json"])
            self.digest = index["manifests"][0]["digest"]
            manifest = json.loads(blob(index["manifests"][0]))
            self.config = json.loads(blob(manifest["config"]))["config"]
            layers = [blob(layer) for layer in manifest["layers"]]
        except (KeyError, IndexError, ValueError) as error:
            raise ImageError("%s: not an OCI image: %r" % (archive, error)) from None
        self.size = sum(len(layer) for layer in layers)
        for data in layers:
            self._unpack_layer(archive, data)

    def _unpack_layer(self, archive, data):
        """Folders and plain files: all that oci_image writes."""
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            with tarfile.open(fileobj=file) as layer:
                for entry in layer:
                    if entry.name.startswith("/") or ".." in entry.name.split("/"):
                        raise ImageError('%s: "%s" is outside the image' % (archive, entry.name))
                    if not (entry.isdir() or entry.isfile()):
                        raise ImageError('%s: "%s" is neither a file nor a folder' % (
                            archive, entry.name))
                    target = os.path.join(self.rootfs, entry.name)
                    if entry.isdir():
                        os.makedirs(target, exist_ok=True)
                        continue
                    # Folders get their mode at the end, or nothing could be put into them; files
                    # are new, so a link that an earlier layer might have left is not followed.
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                    with os.fdopen(os.open(target, flags, 0o600), "wb") as out:
                        out.write(layer.extractfile(entry).read())
                    os.chmod(target, entry.mode)

    def ids(self):
        """(uid, gid) of the image's numeric User."""
        match = re.fullmatch(r"([0-9]+)(?::([0-9]+))?", self.config.get("User", "0"))
        if not match:
            raise ImageError('User "%s" is not a number' % self.config["User"])
        return int(match[1]), int(match[2] or match[1])


# What Docker's and containerd's default profiles refuse and a runtime may want to use.
_REFUSED = ["bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "perf_event_open",
            "userfaultfd"]


def runtime_config(bundle, arguments, environment, cgroup, cpus, memory):
    """config.json of the OCI runtime specification. `cpus` and `memory` may be None: no limit."""
    uid, gid = bundle.ids()
    resources = {"devices": [{"allow": False, "access": "rwm"}]}
    if cpus is not None:
        resources["cpu"] = {"quota": round(cpus * PERIOD_US), "period": PERIOD_US}
    if memory is not None:
        resources["memory"] = {"limit": memory}

    def mount(destination, kind, *options):
        return {"destination": destination, "type": kind, "source": kind,
                "options": ["nosuid", "noexec", "nodev"] + list(options)}

    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": uid, "gid": gid},
            "args": bundle.config.get("Entrypoint", []) + (
                bundle.config.get("Cmd", []) if arguments is None else arguments),
            "env": bundle.config.get("Env", []) + environment,
            "cwd": bundle.config.get("WorkingDir", "/"),
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=64k"]},
            mount("/sys", "sysfs", "ro"),
            mount("/sys/fs/cgroup", "cgroup", "relatime", "ro"),
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "resources": resources,
            # The host's cgroup namespace: the path that is seen inside is the one seen outside.
            # The host's network: a port of the service is a port of this machine.
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "mount")],
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


def root_is_mount_point():
    """False in a plain chroot, whose root no container can be moved away from."""
    with open("/proc/self/mountinfo") as lines:
        return any(line.split(" ")[4] == "/" for line in lines)


def cgroup_mounts():
    """Where cgroup file systems are mounted here."""
    found = []
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            if after.split(" ", 1)[0] in ("cgroup", "cgroup2"):
                found.append(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)),
                                    before.split(" ")[4]))
    return found


def _run_to_end(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
    """The status of a command that is not cut short, even where a signal ends us: half a container
    could not be removed. It has a session of its own, so Ctrl-C does not reach it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                               start_new_session=True)
    try:
        return process.wait()
    except BaseException:
        process.wait()
        raise


class Container:
    """One run of a bundle: `pid`, and what it says on `stdout` and `stderr`.

    The pid is a child of ours, by making this process a subreaper: that is how its status is read.
    """

    def __init__(self, bundle, name, cpus=None, memory=None, arguments=None, environment=()):
        if os.geteuid() != 0:
            raise ContainerError("not root")
        self._runc = shutil.which("runc", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not self._runc:
            raise ContainerError("runc is not installed")
        if not root_is_mount_point():
            raise ContainerError("the root is no mount point, as in a chroot; runc needs one")
        if not cgroup_mounts():
            raise ContainerError("no cgroup file system is mounted")
        self.name = name
        # Two levels, so that a limit of the parent can be told from one's own.
        self.cgroup = "/%s/service" % name
        self.pid = self.status = self.stdout = self.stderr = None
        self._state = tempfile.mkdtemp(prefix="plimsoll-runc-")
        self._log = os.path.join(self._state, "log")
        self._pid_file = os.path.join(self._state, "pid")
        with open(os.path.join(bundle.path, "config.json"), "w") as out:
            json.dump(runtime_config(bundle, arguments, list(environment), self.cgroup, cpus,
                                     memory), out, indent=1)
        self._bundle = bundle
        try:
            self._start()
        except BaseException:
            self.remove()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()

    def _command(self, *arguments):
        return [self._runc, "--root", os.path.join(self._state, "root"), "--log", self._log,
                "--log-format", "json", *arguments]

    def _start(self):
        # `create` does all that can be refused, and leaves the program waiting.
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise ContainerError("prctl: " + os.strerror(ctypes.get_errno()))
        read_out, write_out = os.pipe()
        read_err, write_err = os.pipe()
        self.stdout = os.fdopen(read_out, "r", errors="replace")
        self.stderr = os.fdopen(read_err, "r", errors="replace")
        try:
            status = _run_to_end(
                self._command("create", "--bundle", self._bundle.path, "--pid-file",
                              self._pid_file, self.name),
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

    def _delete(self):
        _run_to_end(self._command("delete", "--force", self.name))

    def remove(self):
        """Ends and removes all that was made."""
        if self.pid is not None and self.status is None:
            self.kill(signal.SIGKILL)
            self.wait()
        self._delete()
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        # runc removes the cgroup it was told of, and leaves the one above.
        for mount in cgroup_mounts():
            for folder in (self.cgroup, "/" + self.name):
                try:
                    os.rmdir(mount + folder)
                except OSError:
                    pass  # not in this hierarchy; or gone already
        shutil.rmtree(self._state, ignore_errors=True)
