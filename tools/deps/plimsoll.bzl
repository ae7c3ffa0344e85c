"""How Plimsoll's own targets are compiled: one place for flags and for include paths."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

# -ftls-model=initial-exec: a goroutine may resume on another thread, and the general model's
# cached address would then be the old thread's (runtime/DESIGN.md, "Thread-local state").
# -fstack-clash-protection: a large frame touches each page, so it cannot jump a guard.
# -fno-omit-frame-pointer: dumps and profilers walk our frames, whoever builds us.
# -fasynchronous-unwind-tables: a dump may stop a goroutine at any instruction.
PLIMSOLL_COPTS = [
    "-fno-omit-frame-pointer",
    "-fasynchronous-unwind-tables",
    "-ftls-model=initial-exec",
    "-fstack-clash-protection",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Wvla",
]

# For what is linked into the preloaded malloc: it may need nothing of libstdc++.
BENEATH_MALLOC_COPTS = [
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-threadsafe-statics",
]

def plimsoll_cc_library(name, **kwargs):
    """A cc_library whose headers are included as "plimsoll/<path from the root>".

    Args:
      name: the target.
      **kwargs: as cc_library's; copts are added to ours.
    """
    cc_library(
        name = name,
        copts = PLIMSOLL_COPTS + kwargs.pop("copts", []),
        include_prefix = "plimsoll",
        strip_include_prefix = "/",
        **kwargs
    )

def plimsoll_cc_test(name, size = "small", **kwargs):
    """A GoogleTest program; small unless it says otherwise.

    Args:
      name: the target, ending in _test.
      size: Bazel's test size.
      **kwargs: as cc_test's; copts are added to ours.
    """
    cc_test(
        name = name,
        size = size,
        copts = PLIMSOLL_COPTS + kwargs.pop("copts", []),
        **kwargs
    )

# What `malloc` of a binary may be called; any other label of a library that defines malloc will do.
_MALLOCS = {
    "jemalloc": "@jemalloc",
    "libc": "@bazel_tools//tools/cpp:malloc",
    "plimsoll": str(Label("//alloc:malloc")),
}

def _malloc(name):
    return _MALLOCS.get(name, name)

# Labels of this workspace, whichever workspace calls the macros.
_STATIC = str(Label("//:static"))
_SANITIZED = str(Label("//:sanitized"))

# gold, the toolchain's default, knows no --no-dynamic-linker and so makes no static-pie; GNU ld
# does. It warns of getpwnam and its like in libcgroup: rules and configuration files, which nothing
# of ours reads. Its --no-warnings is no way out: an undefined symbol then passes in silence.
_STATIC_PIE = [
    "-static-pie",
    "-fuse-ld=bfd",
]

def plimsoll_cc_binary(name, **kwargs):
    """A program: static-pie under --config=static, and with jemalloc as its malloc unless sanitized.

    Args:
      name: the target.
      **kwargs: as cc_binary's; copts and linkopts are added to ours. malloc is "jemalloc", "plimsoll"
        (alloc/), "libc", or a label.
    """
    cc_binary(
        name = name,
        copts = PLIMSOLL_COPTS + kwargs.pop("copts", []),
        linkopts = kwargs.pop("linkopts", []) + select({
            _STATIC: _STATIC_PIE,
            "//conditions:default": [],
        }),
        malloc = _malloc(kwargs.pop("malloc", "jemalloc")),
        **kwargs
    )

def plimsoll_static_binary(name, **kwargs):
    """A program that runs in an empty image: static-pie in every configuration that can be.

    A sanitizer cannot be linked statically, so under --config=asan, tsan and ubsan the same target
    is an ordinary program: a test that puts it into an empty root must have
    target_compatible_with or a look at the file first.

    Args:
      name: the target.
      **kwargs: as cc_binary's; copts, linkopts and features are added to ours. malloc is "jemalloc",
        "plimsoll" (alloc/), "libc", or a label.
    """
    cc_binary(
        name = name,
        copts = PLIMSOLL_COPTS + kwargs.pop("copts", []),
        # GNU ld knows no --start-lib, with which Bazel would hand it loose object files.
        features = kwargs.pop("features", []) + ["-supports_start_end_lib"],
        linkopts = kwargs.pop("linkopts", []) + select({
            _SANITIZED: [],
            "//conditions:default": _STATIC_PIE,
        }),
        malloc = _malloc(kwargs.pop("malloc", "jemalloc")),
        **kwargs
    )

def plimsoll_cc_shared_object(name, **kwargs):
    """A shared object to be preloaded: it exports what it marks, and needs libc alone.

    Args:
      name: the target and the file, ending in .so.
      **kwargs: as cc_binary's; copts and linkopts are added to ours.
    """
    cc_binary(
        name = name,
        copts = PLIMSOLL_COPTS + ["-fvisibility=hidden"] + kwargs.pop("copts", []),
        linkopts = kwargs.pop("linkopts", []) + [
            "-Wl,--as-needed",
            "-Wl,--exclude-libs,ALL",
            "-Wl,-z,now",
        ],
        linkshared = True,
        linkstatic = True,
        malloc = "@bazel_tools//tools/cpp:malloc",
        **kwargs
    )
