"""Removes what a run has made, also when the run itself cannot: SIGKILL leaves it no time.

    guardian.watch("bundle", {"folder": path})       # before `path` is made
    ...
    guardian.remove({"folder": path})
    guardian.release("bundle")

The guardian is a process in a session of its own that waits for the end of ours, and is told over a
pipe what there is to remove. When the pipe ends it removes what was not released. What even that
cannot do, since the guardian was killed as well, the next run does: sweep(); names hold the PID.
"""

import atexit
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

_PATIENCE_TENTHS = 100
_PR_SET_PDEATHSIG = 1

_tell = None  # the pipe's end that says by closing that we have ended
_pid = None


def name_of(kind):
    """What a run of ours calls what it makes."""
    return "plimsoll-%s-%d" % (kind, os.getpid())


def die_with_parent():
    """For subprocess's preexec_fn: what a killed process was about to make is not made."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def cgroup_mounts():
    """Where cgroup file systems are mounted here, and each one's controllers; v2 has none here."""
    found = {}
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            kind, _, options = after.rstrip("\n").split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                mount = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), before.split(" ")[4])
                found[mount] = options.split(",") if kind == "cgroup" else []
    return found


def _remove_groups(top):
    """Ends what runs in the cgroup `top` or below, and removes it everywhere. True: it is gone."""
    gone = True
    for mount in cgroup_mounts():
        for folder, _, _ in os.walk(os.path.join(mount, top), topdown=False):
            try:
                with open(os.path.join(folder, "cgroup.procs")) as pids:
                    for pid in pids.read().split():
                        if int(pid) > 0:  # 0 is of another PID namespace; to kill, it is ourselves
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


def _remove_folder(path):
    """Removes a folder of ours. One of another user's is left, and no link is followed: others write
    to the temporary folder too, and what we run as root must not do their bidding."""
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        if os.fstat(top).st_uid != os.geteuid():
            return
        for _, _, _, folder in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            os.fchmod(folder, 0o700)  # an image's folders are read-only
    finally:
        os.close(top)
    shutil.rmtree(path, ignore_errors=True)


def remove(thing, looks=1):
    """Removes {"folder": path}, and of {"name", "runc", "root"} the container and its cgroups.

    `looks`: how often nothing must be found in a row. A runc that was killed a moment ago may have
    put something back behind the first look.
    """
    name, quiet = thing.get("name"), 0
    for _ in range(_PATIENCE_TENTHS):
        state = os.path.join(thing["root"], name) if name else None
        if state and os.path.isdir(state):
            subprocess.run([thing["runc"], "--root", thing["root"], "delete", "--force", name],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, start_new_session=True, check=False)
        if not name or (_remove_groups(name) and not os.path.isdir(state)):
            quiet += 1
            if quiet >= looks:
                break
        else:
            quiet = 0
        time.sleep(0.1)
    if "folder" in thing:
        _remove_folder(thing["folder"])


def _guard(wait):
    things = {}
    with os.fdopen(wait) as lines:
        for line in lines:
            key, thing = json.loads(line)
            if thing is None:
                things.pop(key, None)
            else:
                things[key] = thing
    for key in reversed(list(things)):
        remove(things[key], looks=3)


def _start():
    global _tell, _pid
    wait, _tell = os.pipe()
    _pid = os.fork()
    if _pid:
        os.close(wait)
        atexit.register(_end)
        return
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):  # whoever reads our output must not wait for this process
            os.dup2(null, fd)
        os.close(_tell)
        _guard(wait)
    finally:
        os._exit(0)


def _end():
    os.close(_tell)
    os.waitpid(_pid, 0)


def watch(key, thing):
    """From now on `thing` is removed if we end without release(key)."""
    if _tell is None:
        _start()
    os.write(_tell, (json.dumps([key, thing]) + "\n").encode())  # one write: whole or not at all


def release(key):
    os.write(_tell, (json.dumps([key, None]) + "\n").encode())


def sweep(kind):
    """Removes what runs of this kind have left whose process is no more."""
    names = {entry for mount in cgroup_mounts() for entry in os.listdir(mount)}
    names |= set(os.listdir(tempfile.gettempdir()))
    for name in names:
        match = re.fullmatch(r"(plimsoll-%s-(\d+))(-.*)?" % re.escape(kind), name)
        if match and not os.path.exists("/proc/" + match[2]):
            if match[3]:
                _remove_folder(os.path.join(tempfile.gettempdir(), name))
            else:
                remove({"name": name, "runc": "runc", "root": "/nonexistent"})
