"""What an archive holds, and that nothing of the machine that made it is in it."""

import argparse
import hashlib
import io
import json
import os
import struct
import tarfile
import tempfile
import unittest

import oci_archive


def elf(interpreter=None, magic=b"\x7fELF\x02\x01"):
    """The head of a 64-bit program with one program header, and the interpreter it names."""
    name = (interpreter or "").encode() + b"\0"
    kind = 3 if interpreter else 1
    head = bytearray(64)
    head[:len(magic)] = magic
    struct.pack_into("<Q", head, 32, 64)  # where the program headers are
    struct.pack_into("<HH", head, 54, 56, 1)
    program = bytearray(56)
    struct.pack_into("<I", program, 0, kind)
    struct.pack_into("<Q", program, 8, 120)
    struct.pack_into("<Q", program, 32, len(name))
    return bytes(head + program + name)


class ArchiveTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, path, data, mode=0o644, mtime=None):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(data)
        os.chmod(path, mode)
        if mtime is not None:
            os.utime(path, (mtime, mtime))
        return path

    def options(self, binary, **changes):
        options = {
            "binary": binary, "name": "service", "reference": "service:test",
            "architecture": "amd64", "user": "65532:65532", "file": [], "cmd": [], "env": [],
            "label": [],
        }
        options.update(changes)
        return argparse.Namespace(**options)

    def build(self, binary=None, **changes):
        binary = binary or self.write("service", elf())
        return oci_archive.build(self.options(binary, **changes))

    def open(self, data):
        """{name: bytes} of the archive, its manifest and its config."""
        with tarfile.open(fileobj=io.BytesIO(data)) as outer:
            files = {m.name: outer.extractfile(m).read() for m in outer}
        index = json.loads(files["index.json"])

        def blob(descriptor):
            data = files["blobs/" + descriptor["digest"].replace(":", "/")]
            self.assertEqual("sha256:" + hashlib.sha256(data).hexdigest(), descriptor["digest"])
            self.assertEqual(len(data), descriptor["size"])
            return data

        manifest = json.loads(blob(index["manifests"][0]))
        config = json.loads(blob(manifest["config"]))
        layers = [blob(descriptor) for descriptor in manifest["layers"]]
        return manifest, config, layers

    def test_two_folders_times_and_modes_give_the_same_bytes(self):
        one = self.write("a/service", elf(), 0o755, 1)
        other = self.write("b/c/service", elf(), 0o600, 1_700_000_000)
        certificate = self.write("a/ca", b"trusted", 0o400, 5)
        certificate_too = self.write("b/ca", b"trusted", 0o666, 6)
        images = [
            self.build(binary, file=["/etc/ssl/ca=" + ca, "/etc/a=" + ca])
            for binary, ca in ((one, certificate), (other, certificate_too))
        ]
        self.assertEqual(*[hashlib.sha256(image).hexdigest() for image in images])

    def test_every_member_of_every_tar_has_time_zero_and_owner_zero(self):
        image = self.build(file=["/etc/hosts=" + self.write("hosts", b"127.0.0.1 localhost\n")])
        _, _, layers = self.open(image)
        self.assertEqual(len(layers), 2)
        for data in [image] + layers:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in tar:
                    with self.subTest(member.name):
                        self.assertEqual(
                            (member.mtime, member.uid, member.gid, member.uname, member.gname),
                            (0, 0, 0, "", ""))
                        self.assertEqual(member.mode & 0o222, 0, "nothing may be written")

    def test_config_names_the_user_by_number_and_the_program(self):
        _, config, _ = self.open(self.build(cmd=["--port", "80"], env=["A=b"], label=["x=y=z"]))
        self.assertEqual(config["config"], {
            "User": "65532:65532", "Entrypoint": ["/service"], "Cmd": ["--port", "80"],
            "Env": ["A=b"], "Labels": {"x": "y=z"}, "WorkingDir": "/", "StopSignal": "SIGTERM",
        })
        self.assertEqual((config["architecture"], config["os"]), ("amd64", "linux"))

    def test_diff_ids_are_the_layers(self):
        manifest, config, layers = self.open(self.build())
        self.assertEqual(
            config["rootfs"]["diff_ids"],
            ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers])
        self.assertEqual(len(manifest["layers"]), 1)

    def test_folders_come_before_what_is_in_them(self):
        source = self.write("x", b"x")
        _, _, layers = self.open(self.build(file=["/b/c/d=" + source, "/b/a=" + source]))
        with tarfile.open(fileobj=io.BytesIO(layers[0])) as tar:
            self.assertEqual(tar.getnames(), ["b", "b/a", "b/c", "b/c/d"])

    def test_refuses_with_the_field_and_the_text(self):
        program = self.write("good", elf())
        table = [
            ({"binary": self.write("dynamic", elf("/lib64/ld-linux-x86-64.so.2"))},
             "asks for the interpreter /lib64/ld-linux-x86-64.so.2"),
            ({"binary": self.write("script", b"#!/bin/sh\n")}, "script is not a 64-bit ELF"),
            ({"binary": program, "user": "nobody"}, 'user "nobody" is not a number'),
            ({"binary": program, "user": "1:2:3"}, 'user "1:2:3"'),
            ({"binary": program, "env": ["PATH"]}, 'env "PATH" is not NAME=VALUE'),
            ({"binary": program, "label": ["=v"]}, 'label "=v" is not NAME=VALUE'),
            ({"binary": program, "file": ["etc/x=" + program]}, 'file "etc/x" is not an absolute'),
            ({"binary": program, "file": ["/a/../b=" + program]}, 'file "/a/../b" is not'),
            ({"binary": program, "file": ["/a=" + program] * 2}, 'file "/a" is given twice'),
        ]
        for changes, text in table:
            with self.subTest(text):
                with self.assertRaises(oci_archive.ImageError) as caught:
                    self.build(**changes)
                self.assertIn(text, str(caught.exception))
