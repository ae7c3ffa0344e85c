"""oci_image: a static program as an OCI image, FROM scratch, for a read-only root."""

_ARCHITECTURES = {
    "aarch64": "arm64",
    "k8": "amd64",
}

def _oci_image_impl(ctx):
    architecture = _ARCHITECTURES.get(ctx.var["TARGET_CPU"])
    if not architecture:
        fail("oci_image knows no architecture for the CPU \"%s\"" % ctx.var["TARGET_CPU"])
    binary = ctx.executable.binary
    output = ctx.actions.declare_file(ctx.label.name + ".tar")
    inputs = [binary]
    args = ctx.actions.args()
    args.add("--output", output)
    args.add("--binary", binary)
    args.add("--name", binary.basename)
    args.add("--reference", ctx.attr.reference)
    args.add("--architecture", architecture)
    args.add("--user", ctx.attr.user)
    for target, path in ctx.attr.files.items():
        sources = target.files.to_list()
        if len(sources) != 1:
            fail("%s is %d files; \"%s\" can be one" % (target.label, len(sources), path), "files")
        inputs.append(sources[0])
        args.add("--file", sources[0], format = path + "=%s")
    for word in ctx.attr.cmd:
        args.add("--cmd=" + word)
    for name, value in ctx.attr.env.items():
        args.add("--env=%s=%s" % (name, value))
    for name, value in ctx.attr.labels.items():
        args.add("--label=%s=%s" % (name, value))
    ctx.actions.run(
        executable = ctx.executable._tool,
        arguments = [args],
        inputs = inputs,
        outputs = [output],
        mnemonic = "OciImage",
        progress_message = "Packing image %s" % ctx.label,
        use_default_shell_env = True,
    )
    return [DefaultInfo(files = depset([output]), runfiles = ctx.runfiles(files = [output]))]

_oci_image = rule(
    implementation = _oci_image_impl,
    attrs = {
        "binary": attr.label(
            cfg = "target",
            doc = "A plimsoll_static_binary. It becomes the entry point, in the image's root.",
            executable = True,
            mandatory = True,
        ),
        "cmd": attr.string_list(doc = "The entry point's arguments, which a user may replace."),
        "env": attr.string_dict(doc = "The environment."),
        "files": attr.label_keyed_string_dict(
            allow_files = True,
            doc = "File -> absolute path in the image. They make a layer below the program's.",
        ),
        "labels": attr.string_dict(doc = "The image's labels: org.opencontainers.image.title..."),
        "reference": attr.string(
            default = "plimsoll:latest",
            doc = "NAME:TAG, by which tools find the image in the archive.",
        ),
        "user": attr.string(
            default = "65532:65532",
            doc = "UID:GID, in numbers: an empty image has no /etc/passwd.",
        ),
        "_tool": attr.label(
            allow_single_file = True,
            cfg = "exec",
            default = "//tools/image:oci_archive.py",
            executable = True,
        ),
    },
)

def oci_image(name, ca_certificates = None, **kwargs):
    """A reproducible OCI archive, NAME.tar, of one static program.

    Under a sanitizer no program is static, so the target is skipped there.

    Args:
      name: the target.
      ca_certificates: a file of trusted certificates; the image holds it at
        /etc/ssl/certs/ca-certificates.crt, where TLS libraries look.
      **kwargs: as the rule's: binary, cmd, env, files, labels, reference, user.
    """
    files = dict(kwargs.pop("files", {}))
    if ca_certificates:
        files[ca_certificates] = "/etc/ssl/certs/ca-certificates.crt"
    _oci_image(
        name = name,
        files = files,
        target_compatible_with = select({
            str(Label("//:sanitized")): [str(Label("//tools/deps:never"))],
            "//conditions:default": [],
        }),
        **kwargs
    )
