"""What a container runs: an OCI archive unpacked, or programs of ours and nothing else.

    with bundle.Bundle("service.tar") as image: ...                  # an archive, checked
    with bundle.Programs({"probe": path}) as image: ...              # /probe, run as root

Leaving the `with` removes the files; so does guardian.py where that cannot come to pass.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import tarfile
import tempfile

import guardian


class ImageError(Exception):
    """The archive is not an image, or not whole."""


class _Folder:
    """A bundle's folder, guarded: `path`, `rootfs` below it, and `config`, the image's own."""

    def _make_folder(self):
        guardian.sweep("bundle")
        # The name is ours to choose, so that it is guarded before it is there.
        self.path = os.path.join(tempfile.gettempdir(), "%s-%s" % (
            guardian.name_of("bundle"), secrets.token_hex(4)))
        guardian.watch(self.path, {"folder": self.path})
        os.mkdir(self.path, 0o700)
        self.rootfs = os.path.join(self.path, "rootfs")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()

    def remove(self):
        guardian.remove({"folder": self.path})
        guardian.release(self.path)

    def ids(self):
        """(uid, gid) of the image's numeric User."""
        match = re.fullmatch(r"([0-9]+)(?::([0-9]+))?", self.config.get("User", "0"))
        if not match:
            raise ImageError('User "%s" is not a number' % self.config["User"])
        return int(match[1]), int(match[2] or match[1])


class Bundle(_Folder):
    """An archive, unpacked: `rootfs` below `path`, and the image's own configuration."""

    def __init__(self, archive):
        self._make_folder()
        try:
            # The user inside must be able to walk down to its root.
            os.chmod(self.path, 0o755)
            os.mkdir(self.rootfs)
            self._unpack(archive)
        except BaseException:
            self.remove()
            raise

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


class Programs(_Folder):
    """{name: path of a static program}, each at /name in an otherwise empty root."""

    def __init__(self, programs):
        self.config = {"Env": ["PATH=/"]}
        self._make_folder()
        try:
            for name in ("proc", "sys", "dev", "hostcg"):
                os.makedirs(os.path.join(self.rootfs, name))
            os.chmod(self.path, 0o755)
            for name, path in programs.items():
                shutil.copy(path, os.path.join(self.rootfs, name))
                os.chmod(os.path.join(self.rootfs, name), 0o755)
        except BaseException:
            self.remove()
            raise
