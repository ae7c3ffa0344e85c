#!/usr/bin/env python3
"""Writes one program as an OCI image archive, FROM scratch: the same inputs give the same bytes.

The archive is a tar of an OCI image layout (OCI Image Specification 1.0): oci-layout, index.json and
blobs/sha256. Everything that could differ between two machines is fixed: times are 0, owners are 0,
names are sorted, JSON is compact with sorted keys, layers are not compressed.
"""

import argparse
import hashlib
import io
import json
import re
import struct
import sys
import tarfile

PREFIX = "application/vnd.oci.image."
_PT_INTERP = 3


class ImageError(Exception):
    """What is wrong with the image that was asked for; the text is for its author."""


def interpreter(data):
    """The program interpreter a 64-bit ELF file asks for, or None. ImageError: no such file."""
    if data[:5] != b"\x7fELF\x02":
        raise ImageError("is not a 64-bit ELF program")
    if data[5] != 1:
        raise ImageError("is big-endian; an image of ours is for x86-64 or aarch64")
    offset, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, = struct.unpack_from("<I", data, offset + i * size)
        if kind == _PT_INTERP:
            start, = struct.unpack_from("<Q", data, offset + i * size + 8)
            length, = struct.unpack_from("<Q", data, offset + i * size + 32)
            return data[start:start + length].rstrip(b"\0").decode()
    return None


def member(name, mode, size=0, kind=tarfile.REGTYPE):
    """A tar header that says nothing of this machine."""
    info = tarfile.TarInfo(name)
    info.mode, info.size, info.type = mode, size, kind
    info.mtime = info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def layer(files):
    """A tar of {path in the image: (mode, bytes)}, with the folders above each path."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        made = set()
        for path in sorted(files):
            parts = path.strip("/").split("/")
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                if folder not in made:
                    made.add(folder)
                    tar.addfile(member(folder, 0o555, kind=tarfile.DIRTYPE))
            mode, data = files[path]
            tar.addfile(member("/".join(parts), mode, len(data)), io.BytesIO(data))
    return stream.getvalue()


def dump(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def archive(layers, architecture, user, entrypoint, cmd, env, labels, reference, stop_signal):
    """The bytes of the archive. `layers` is a list of the bytes of tars, the lowest first."""
    blobs = {}

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        blobs["blobs/sha256/" + digest] = data
        return {"mediaType": PREFIX + kind, "digest": "sha256:" + digest, "size": len(data)}

    layer_blobs = [blob(data, "layer.v1.tar") for data in layers]
    process = {
        "User": user,
        "Entrypoint": entrypoint,
        "WorkingDir": "/",
        "StopSignal": stop_signal,
    }
    for key, value in (("Cmd", cmd), ("Env", env), ("Labels", labels)):
        if value:
            process[key] = value
    config = blob(dump({
        "architecture": architecture,
        "os": "linux",
        "config": process,
        "rootfs": {"type": "layers", "diff_ids": [b["digest"] for b in layer_blobs]},
    }), "config.v1+json")
    manifest = blob(dump({
        "schemaVersion": 2,
        "mediaType": PREFIX + "manifest.v1+json",
        "config": config,
        "layers": layer_blobs,
    }), "manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": reference}
    manifest["platform"] = {"architecture": architecture, "os": "linux"}

    files = dict(blobs)
    files["oci-layout"] = dump({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = dump({"schemaVersion": 2, "manifests": [manifest]})
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            tar.addfile(member(name, 0o444, len(files[name])), io.BytesIO(files[name]))
    return stream.getvalue()


def read_files(pairs):
    """{path: (mode, bytes)} of a list of "PATH=SOURCE"."""
    files = {}
    for pair in pairs:
        path, _, source = pair.partition("=")
        if not path.startswith("/") or ".." in path.split("/") or path.endswith("/"):
            raise ImageError('file "%s" is not an absolute path of a file in the image' % path)
        if path in files:
            raise ImageError('file "%s" is given twice' % path)
        with open(source, "rb") as data:
            files[path] = (0o444, data.read())
    return files


def key_values(flag, pairs):
    for pair in pairs:
        if not re.match(r"[^=]+=", pair):
            raise ImageError('%s "%s" is not NAME=VALUE' % (flag, pair))
    return pairs


def build(options):
    """The bytes of the archive that the command line asks for."""
    if not re.fullmatch(r"[0-9]+(:[0-9]+)?", options.user):
        # A name would need /etc/passwd, which an empty image does not have.
        raise ImageError('user "%s" is not a number, nor two as in 65532:65532' % options.user)
    with open(options.binary, "rb") as data:
        program = data.read()
    try:
        wants = interpreter(program)
    except ImageError as error:
        raise ImageError("%s %s" % (options.binary, error)) from None
    if wants is not None:
        raise ImageError(
            "%s asks for the interpreter %s, which an empty image does not have; "
            "build it with plimsoll_static_binary" % (options.binary, wants))

    layers = []
    files = read_files(options.file)
    if files:
        layers.append(layer(files))  # below the program: it changes less often
    name = "/" + options.name
    layers.append(layer({name: (0o555, program)}))
    return archive(
        layers,
        architecture=options.architecture,
        user=options.user,
        entrypoint=[name],
        cmd=options.cmd,
        env=key_values("env", options.env),
        labels=dict(p.split("=", 1) for p in key_values("label", options.label)),
        reference=options.reference,
        stop_signal="SIGTERM",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", required=True)
    parser.add_argument("--binary", required=True, help="a static program; the entry point")
    parser.add_argument("--name", required=True, help="its name in the image's root")
    parser.add_argument("--reference", required=True, help="NAME:TAG, written into the index")
    parser.add_argument("--architecture", required=True, choices=["amd64", "arm64"])
    parser.add_argument("--user", default="65532:65532")
    parser.add_argument("--file", action="append", default=[], metavar="PATH=SOURCE")
    parser.add_argument("--cmd", action="append", default=[])
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    try:
        image = build(options)
        with open(options.output, "wb") as out:
            out.write(image)
    except (ImageError, OSError) as error:
        sys.exit("oci_image: %s" % error)


if __name__ == "__main__":
    main()
