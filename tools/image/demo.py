#!/usr/bin/env python3
"""The second half of tools/demo: runs the service's image, asks it, ends it, tells what happened."""

import argparse
import http.client
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import bundle
import container

_PATIENCE_S = 20


class DemoError(Exception):
    """What went wrong, for the last line."""


class Service:
    """A running service: a container, or a plain process. Prints each line that it says."""

    def __init__(self, streams, kill, wait):
        self.kill, self.wait = kill, wait
        self._lines = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(s,), daemon=True) for s in streams]
        for reader in self._readers:
            reader.start()

    def _read(self, stream):
        for line in stream:
            try:
                print("service | " + line.rstrip("\n"), flush=True)
            except BrokenPipeError:
                pass  # the main thread meets it as well, and unwinds
            self._lines.put(line)
        self._lines.put(None)

    def listening(self):
        """Waits for "listening on ADDRESS:PORT" and returns the port."""
        deadline, open_streams = time.monotonic() + _PATIENCE_S, len(self._readers)
        while open_streams:
            try:
                line = self._lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise DemoError("the service did not listen within %d s" % _PATIENCE_S) from None
            if line is None:
                open_streams -= 1
                continue
            found = re.search(r"listening on \S*:([0-9]+)", line)
            if found:
                return int(found[1])
        raise DemoError("the service ended before it listened, with exit code %d" % self.wait())

    def silent(self):
        """Waits until it has said all: its end of the pipes is closed."""
        for reader in self._readers:
            reader.join(_PATIENCE_S)
            if reader.is_alive():
                raise DemoError("the service did not end within %d s of SIGTERM" % _PATIENCE_S)


def get(port, path):
    """GET path: prints the answer and returns its body."""
    print("\n== GET http://127.0.0.1:%d%s" % (port, path), flush=True)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise DemoError("GET %s: %s" % (path, error or type(error).__name__)) from None
    if answer.status != 200:
        raise DemoError("GET %s: status %d, %s" % (path, answer.status, body.strip()))
    if answer.getheader("Content-Type", "").startswith("application/json"):
        body = pretty(json.loads(body))
    print("%d %s\n%s" % (answer.status, answer.reason, body.rstrip()), flush=True)
    return body


def pretty(value):
    """JSON, one member a line, and what fits into a line in one line."""

    def show(item, indent):
        flat = json.dumps(item)
        if len(flat) + len(indent) <= 110 or not isinstance(item, (dict, list)) or not item:
            return flat
        deeper = indent + "  "
        if isinstance(item, dict):
            inner = ["%s: %s" % (json.dumps(k), show(v, deeper)) for k, v in item.items()]
            ends = "{}"
        else:
            inner, ends = [show(v, deeper) for v in item], "[]"
        return "%s\n%s%s\n%s%s" % (
            ends[0], deeper, (",\n" + deeper).join(inner), indent, ends[1])

    return "{\n  " + ",\n  ".join(
        "%s: %s" % (json.dumps(k), show(v, "  ")) for k, v in value.items()) + "\n}"


def cgroup_paths(limits):
    """{cgroup path: the controllers that are there}, as the service has read them."""
    found = {}
    for tree in limits.get("trees", []):
        found.setdefault(tree["path"], []).append(tree["controllers"] or "no controller")
    return found


def tell(service):
    """The story: it starts, is asked, is ended. Raises DemoError."""
    port = service.listening()
    get(port, "/")
    limits = json.loads(get(port, "/limits"))
    print()
    for path, controllers in cgroup_paths(limits).items():
        print("== cgroup path, read inside: %s  [%s]" % (path, ", ".join(controllers)))
    print("\n== SIGTERM", flush=True)
    began = time.monotonic()
    service.kill(signal.SIGTERM)
    service.silent()
    status = service.wait()
    print("ended by itself with exit code %d after %.2f s" % (status, time.monotonic() - began))
    if status != 0:
        raise DemoError("a drained service exits 0")
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return
    raise DemoError("port %d is still open" % port)


def size(count):
    return "%g MiB" % (count / (1 << 20)) if count % (1 << 20) == 0 else "%d bytes" % count


# Any free port: the service says which one it got.
_ENVIRONMENT = ["PORT=0"]


def in_container(options):
    with bundle.Bundle(options.image) as image:
        print("== image %s\n   %.1f MiB, user %s, entry point %s" % (
            image.digest, image.size / (1 << 20), image.config["User"],
            " ".join(image.config["Entrypoint"] + image.config.get("Cmd", []))))
        with container.Container(image, "demo", cpus=options.quota_us / container.PERIOD_US,
                                 memory=options.memory, environment=_ENVIRONMENT) as running:
            print("== container %s: runc, cgroup %s, quota %d us of each %d us, memory %s, "
                  "read-only root\n" % (running.name, running.cgroup, options.quota_us,
                                        container.PERIOD_US, size(options.memory)), flush=True)
            tell(Service([running.stdout, running.stderr], running.kill, running.wait))
        left = [m + running.cgroup for m in container.cgroup_mounts()
                if os.path.exists(m + "/" + running.name)]
        if left:
            raise DemoError("cgroups stay behind: " + " ".join(left))
    print("\n== container and cgroups are gone")


def as_process(options):
    # What a shell exports, HOST above all, is not meant for the service: it runs as in the container.
    ours = ("HOST", "GOMAXPROCS", "GOMEMLIMIT", "GOGC")
    environment = {key: value for key, value in os.environ.items()
                   if key not in ours and not key.startswith("PLIMSOLL_")}
    environment.update(pair.split("=", 1) for pair in _ENVIRONMENT)
    with subprocess.Popen([options.program], env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as process:
        try:
            tell(Service([process.stdout, process.stderr], process.send_signal, process.wait))
        finally:
            process.kill()


_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop(number, frame):
    """The first of these signals unwinds; those after it must not disturb the clearing up."""
    for ending in _ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--quota-us", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True)
    options = parser.parse_args()
    for number in _ENDINGS:
        signal.signal(number, stop)
    try:
        try:
            in_container(options)
            return 0
        except container.ContainerError as why:
            print("tools/demo: no container can be made here (%s): the same service follows as a "
                  "plain process, without quota and limit of its own" % why, flush=True)
        as_process(options)
        return 3
    except (DemoError, bundle.ImageError) as error:
        print("tools/demo: %s" % error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Or the interpreter tells of what it still wanted to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("tools/demo: nobody reads this any more; container and cgroups are removed",
              file=sys.stderr)
        return 128 + signal.SIGPIPE
    except OSError as error:  # a full disk, a runc that is none
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("tools/demo: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ntools/demo: interrupted; container and cgroups are removed", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
