"""A bundle holds what the archive says or is refused; a container runs it and leaves nothing."""

import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import unittest.mock

import bundle as bundles
import container
import guardian
import oci_archive

IMAGE = sys.argv[1]


def rewritten(change):
    """The test image with its members changed by change(name, data), in a temporary file."""
    out = tempfile.NamedTemporaryFile(suffix=".tar")
    with tarfile.open(IMAGE) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            data = change(member.name, old.extractfile(member).read())
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    out.flush()
    return out


def image_of_layers(layers):
    out = tempfile.NamedTemporaryFile(suffix=".tar")
    out.write(oci_archive.archive(layers, "amd64", "65532", ["/x"], [], [], {}, "x:y", "SIGTERM"))
    out.flush()
    return out


def layer_of(*members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for member in members:
            tar.addfile(member)
    return stream.getvalue()


class BundleTest(unittest.TestCase):

    def test_holds_program_and_files_and_is_gone_after(self):
        with bundles.Bundle(IMAGE) as bundle:
            self.assertEqual(bundle.ids(), (65532, 65532))
            with open(bundle.rootfs + "/etc/ssl/certs/ca-certificates.crt") as file:
                self.assertIn("trusted certificates", file.read())
            self.assertEqual(os.stat(bundle.rootfs + "/probe").st_mode & 0o777, 0o555)
            path = bundle.path
        self.assertFalse(os.path.exists(path))

    def test_refuses_what_is_not_whole(self):
        table = [
            (lambda name, data: data.replace(b"65532", b"00000"), "other content than its name"),
            (lambda name, data: None if name.startswith("blobs") else data, "is missing"),
            (lambda name, data: None if name == "index.json" else data, "not an OCI image"),
            (lambda name, data: b"{" if name == "index.json" else data, "not an OCI image"),
        ]
        for change, text in table:
            with self.subTest(text), rewritten(change) as archive:
                with self.assertRaises(bundles.ImageError) as caught:
                    bundles.Bundle(archive.name)
                self.assertIn(text, str(caught.exception))
        with self.assertRaises(bundles.ImageError):
            bundles.Bundle(__file__)

    def test_refuses_a_layer_that_reaches_out_of_the_root(self):
        link = oci_archive.member("link", 0o777, kind=tarfile.SYMTYPE)
        link.linkname = "/etc"
        for member, text in [
            (oci_archive.member("../out", 0o644), "is outside the image"),
            (oci_archive.member("/etc/x", 0o644), "is outside the image"),
            (link, "is neither a file nor a folder"),
        ]:
            with self.subTest(text), image_of_layers([layer_of(member)]) as archive:
                with self.assertRaises(bundles.ImageError) as caught:
                    bundles.Bundle(archive.name)
                self.assertIn(text, str(caught.exception))


class RuntimeConfigTest(unittest.TestCase):

    def test_limits_root_and_user_are_what_was_asked_for(self):
        with bundles.Bundle(IMAGE) as bundle:
            config = container.runtime_config(bundle, None, ["X=1"], "/a/b", cpus=0.7,
                                              memory=96 << 20)
        self.assertEqual(config["linux"]["resources"]["cpu"], {"quota": 70000, "period": 100000})
        self.assertEqual(config["linux"]["resources"]["memory"], {"limit": 100663296})
        self.assertTrue(config["root"]["readonly"])
        self.assertEqual(config["process"]["user"], {"uid": 65532, "gid": 65532})
        self.assertEqual(config["process"]["args"], ["/probe", "one"])
        self.assertEqual(config["process"]["env"], ["PLIMSOLL_LOG=text", "X=1"])
        self.assertEqual(config["process"]["capabilities"], {})


class ContainerTest(unittest.TestCase):
    """Needs root, runc and a cgroup file system; says so where one is missing."""

    kind = "image-test"

    def start(self, bundle, **options):
        try:
            return container.Container(bundle, self.kind, **options)
        except container.ContainerError as error:
            self.skipTest("no container can be made here: %s" % error)

    def left(self):
        return [m for m in container.cgroup_mounts() if os.path.exists(m + "/" + guardian.name_of(self.kind))]

    def test_runs_as_the_images_user_on_a_read_only_root_and_leaves_no_cgroup(self):
        with bundles.Bundle(IMAGE) as bundle:
            with self.start(bundle, cpus=0.5, memory=64 << 20) as running:
                said = running.stdout.read()
                self.assertEqual(running.wait(), 0)
        self.assertEqual(said.splitlines(), [
            "uid 65532 gid 65532 arguments 1", "argument one", "root read-only", "threads work"])
        self.assertEqual(self.left(), [])

    def test_has_the_quota_it_was_given(self):
        with bundles.Bundle(IMAGE) as bundle:
            with self.start(bundle, cpus=0.5, arguments=["wait"]) as running:
                self.assertIn("arguments 1", running.stdout.readline())
                seen = []
                for mount in container.cgroup_mounts():
                    for file in ("cpu.max", "cpu.cfs_quota_us"):
                        path = mount + running.cgroup + "/" + file
                        if os.path.exists(path):
                            with open(path) as value:
                                seen.append(value.read().split()[0])
                self.assertEqual(set(seen), {"50000"})

    def test_leaving_kills_a_program_that_would_stay(self):
        with bundles.Bundle(IMAGE) as bundle:
            with self.start(bundle, arguments=["wait"]) as running:
                self.assertIn("arguments 1", running.stdout.readline())
                pid = running.pid
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)
        self.assertEqual(running.status, -signal.SIGKILL)
        self.assertEqual(self.left(), [])


class NoRuncTest(unittest.TestCase):

    def test_a_runc_that_cannot_be_started_is_a_reason_why_there_is_no_container(self):
        with tempfile.TemporaryDirectory() as folder:
            runc = os.path.join(folder, "runc")
            with open(runc, "wb") as file:
                file.write(b"\x7fELF, and no more")
            os.chmod(runc, 0o755)
            for path, why in ((runc, "Exec format error"), (runc + "-gone", "No such file")):
                with self.subTest(path), bundles.Bundle(IMAGE) as bundle, \
                        unittest.mock.patch.object(container, "check_available", lambda p=path: p):
                    with self.assertRaisesRegex(container.ContainerError, "cannot be started: .*" + why):
                        container.Container(bundle, "no-runc-test")
        left = [f for f in os.listdir(tempfile.gettempdir()) if "no-runc-test-%d-" % os.getpid() in f]
        self.assertEqual(left, [])


RUN_UNTIL_KILLED = """
import sys
import bundle, container
with bundle.Bundle(sys.argv[1]) as image:
    with container.Container(image, "killed-test", arguments=["wait"]) as running:
        print(running.pid, flush=True)
        running.wait()
"""


def runs(pid):
    """Whether it does; not whether somebody has read its exit status."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class SweepTest(unittest.TestCase):

    def test_neither_a_link_nor_what_a_link_names_is_touched(self):
        ended = subprocess.Popen(["true"])
        ended.wait()
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as victim:
            os.chmod(victim, 0o500)
            name = "plimsoll-bundle-%d-" % ended.pid
            link, own = os.path.join(folder, name + "link"), os.path.join(folder, name + "own")
            os.symlink(victim, link)
            os.makedirs(os.path.join(own, "read-only"))
            os.symlink(victim, os.path.join(own, "read-only", "link"))
            os.chmod(os.path.join(own, "read-only"), 0o500)
            with unittest.mock.patch.object(tempfile, "tempdir", folder):
                guardian.sweep("bundle")
            self.assertEqual(os.listdir(folder), [name + "link"])
            self.assertEqual(stat.S_IMODE(os.stat(victim).st_mode), 0o500)

    @unittest.skipIf(os.geteuid() != 0, "needs root: to make another user's folder")
    def test_another_users_folder_is_left(self):
        ended = subprocess.Popen(["true"])
        ended.wait()
        with tempfile.TemporaryDirectory() as folder:
            theirs = os.path.join(folder, "plimsoll-bundle-%d-theirs" % ended.pid)
            os.mkdir(theirs, 0o500)
            os.chown(theirs, 65534, 65534)
            with unittest.mock.patch.object(tempfile, "tempdir", folder):
                guardian.sweep("bundle")
            self.assertEqual(stat.S_IMODE(os.stat(theirs).st_mode), 0o500)


class GuardianTest(unittest.TestCase):

    def left(self, pid):
        """What the run of that process has left."""
        name = "plimsoll-killed-test-%d" % pid
        groups = [m for m in container.cgroup_mounts() if os.path.exists(m + "/" + name)]
        files = [f for f in os.listdir(tempfile.gettempdir())
                 if f.startswith((name, "plimsoll-bundle-%d-" % pid))]
        return groups + files

    def kill_after(self, when):
        with subprocess.Popen([sys.executable, "-B", "-c", RUN_UNTIL_KILLED, IMAGE],
                              stdout=subprocess.PIPE, text=True,
                              env=dict(os.environ, PYTHONPATH="tools/image")) as run:
            inside = when(run)
            run.kill()
        deadline = time.monotonic() + 60
        while self.left(run.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(self.left(run.pid), [])
        return inside

    def setUp(self):
        try:
            container.check_available()
        except container.ContainerError as error:
            self.skipTest("no container can be made here: %s" % error)

    def test_a_run_that_is_killed_leaves_no_container_no_cgroup_and_no_file(self):
        pid = int(self.kill_after(lambda run: run.stdout.readline()))
        self.assertFalse(runs(pid), "the program inside goes on")

    def test_whenever_it_is_killed(self):
        # From before its first file to after its container: whichever the machine makes of these.
        for tenths in (0, 0.5, 1, 1.5, 2, 3):
            with self.subTest(tenths):
                self.kill_after(lambda run, s=tenths / 10: time.sleep(s))

    def test_what_a_killed_guardian_left_is_swept_by_the_next_run(self):
        gone = subprocess.Popen(["true"])
        gone.wait()  # its PID is nobody's now
        mount = list(container.cgroup_mounts())[0]
        group = "%s/plimsoll-swept-test-%d" % (mount, gone.pid)
        mine = "%s/%s" % (mount, guardian.name_of("swept-test"))
        os.makedirs(group + "/service")
        os.mkdir(mine)
        folder = "%s/plimsoll-swept-test-%d-x" % (tempfile.gettempdir(), gone.pid)
        os.mkdir(folder)
        guardian.sweep("swept-test")
        self.assertFalse(os.path.exists(group))
        self.assertFalse(os.path.exists(folder))
        self.assertTrue(os.path.exists(mine), "a run that goes on")
        os.rmdir(mine)


class CommandLineTest(unittest.TestCase):

    def test_the_archive_of_the_rule_has_every_attribute(self):
        with tarfile.open(IMAGE) as tar:
            index = json.load(tar.extractfile("index.json"))
            annotations = index["manifests"][0]["annotations"]
        self.assertEqual(annotations, {"org.opencontainers.image.ref.name": "probe:test"})
        with bundles.Bundle(IMAGE) as bundle:
            self.assertEqual(bundle.config["Labels"], {"org.opencontainers.image.title": "probe"})
            self.assertEqual(bundle.config["Env"], ["PLIMSOLL_LOG=text"])

    def test_a_program_of_the_image_needs_no_file_of_the_image(self):
        with bundles.Bundle(IMAGE) as bundle:
            if os.geteuid() != 0:
                self.skipTest("chroot needs root")
            said = subprocess.run(["/usr/sbin/chroot", bundle.rootfs, "/probe"], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout
        self.assertIn("threads work", said)
