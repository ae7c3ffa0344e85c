"""A bundle holds what the archive says or is refused; a container runs it and leaves nothing."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import unittest

import container
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
        with container.Bundle(IMAGE) as bundle:
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
                with self.assertRaises(container.ImageError) as caught:
                    container.Bundle(archive.name)
                self.assertIn(text, str(caught.exception))
        with self.assertRaises(container.ImageError):
            container.Bundle(__file__)

    def test_refuses_a_layer_that_reaches_out_of_the_root(self):
        link = oci_archive.member("link", 0o777, kind=tarfile.SYMTYPE)
        link.linkname = "/etc"
        for member, text in [
            (oci_archive.member("../out", 0o644), "is outside the image"),
            (oci_archive.member("/etc/x", 0o644), "is outside the image"),
            (link, "is neither a file nor a folder"),
        ]:
            with self.subTest(text), image_of_layers([layer_of(member)]) as archive:
                with self.assertRaises(container.ImageError) as caught:
                    container.Bundle(archive.name)
                self.assertIn(text, str(caught.exception))


class RuntimeConfigTest(unittest.TestCase):

    def test_limits_root_and_user_are_what_was_asked_for(self):
        with container.Bundle(IMAGE) as bundle:
            config = container.runtime_config(bundle, None, ["X=1"], "/a/b", 0.7, 96 << 20)
        self.assertEqual(config["linux"]["resources"]["cpu"], {"quota": 70000, "period": 100000})
        self.assertEqual(config["linux"]["resources"]["memory"], {"limit": 100663296})
        self.assertTrue(config["root"]["readonly"])
        self.assertEqual(config["process"]["user"], {"uid": 65532, "gid": 65532})
        self.assertEqual(config["process"]["args"], ["/probe", "one"])
        self.assertEqual(config["process"]["env"], ["PLIMSOLL_LOG=text", "X=1"])
        self.assertEqual(config["process"]["capabilities"], {})


class ContainerTest(unittest.TestCase):
    """Needs root, runc and a cgroup file system; says so where one is missing."""

    name = "plimsoll-image-test-%d" % os.getpid()

    def start(self, bundle, **options):
        try:
            return container.Container(bundle, self.name, **options)
        except container.ContainerError as error:
            self.skipTest("no container can be made here: %s" % error)

    def left(self):
        return [m for m in container.cgroup_mounts() if os.path.exists(m + "/" + self.name)]

    def test_runs_as_the_images_user_on_a_read_only_root_and_leaves_no_cgroup(self):
        with container.Bundle(IMAGE) as bundle:
            with self.start(bundle, cpus=0.5, memory=64 << 20) as running:
                said = running.stdout.read()
                self.assertEqual(running.wait(), 0)
        self.assertEqual(said.splitlines(), [
            "uid 65532 gid 65532 arguments 1", "argument one", "root read-only", "threads work"])
        self.assertEqual(self.left(), [])

    def test_has_the_quota_it_was_given(self):
        with container.Bundle(IMAGE) as bundle:
            with self.start(bundle, cpus=0.5, arguments=["wait"]) as running:
                self.assertIn("arguments 1", running.stdout.readline())
                seen = []
                for mount in container.cgroup_mounts():
                    for file in ("cpu.max", "cpu.cfs_quota_us"):
                        path = mount + running.cgroup + "/" + file
                        if os.path.exists(path):
                            with open(path) as value:
                                seen.append(value.read().split()[0])
                self.assertEqual(seen, ["50000"])

    def test_leaving_kills_a_program_that_would_stay(self):
        with container.Bundle(IMAGE) as bundle:
            with self.start(bundle, arguments=["wait"]) as running:
                self.assertIn("arguments 1", running.stdout.readline())
                pid = running.pid
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)
        self.assertEqual(running.status, -signal.SIGKILL)
        self.assertEqual(self.left(), [])


class CommandLineTest(unittest.TestCase):

    def test_the_archive_of_the_rule_has_every_attribute(self):
        with tarfile.open(IMAGE) as tar:
            index = json.load(tar.extractfile("index.json"))
            annotations = index["manifests"][0]["annotations"]
        self.assertEqual(annotations, {"org.opencontainers.image.ref.name": "probe:test"})
        with container.Bundle(IMAGE) as bundle:
            self.assertEqual(bundle.config["Labels"], {"org.opencontainers.image.title": "probe"})
            self.assertEqual(bundle.config["Env"], ["PLIMSOLL_LOG=text"])

    def test_a_program_of_the_image_needs_no_file_of_the_image(self):
        with container.Bundle(IMAGE) as bundle:
            if os.geteuid() != 0:
                self.skipTest("chroot needs root")
            said = subprocess.run(["/usr/sbin/chroot", bundle.rootfs, "/probe"], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout
        self.assertIn("threads work", said)
