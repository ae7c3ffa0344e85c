"""test_main: a GoogleTest main of our own, for whoever is a test."""

load("//tools/deps:plimsoll.bzl", "plimsoll_cc_library")

def test_main(name, deps = []):
    """A library with a main() that runs the tests on a goroutine.

    Args:
      name: the target; its source is name.cc.
      deps: beside GoogleTest and the scheduler.
    """
    plimsoll_cc_library(
        name = name,
        srcs = [name + ".cc"],
        visibility = [
            "//runtime:__subpackages__",
            "//tests:__subpackages__",
        ],
        deps = [
            "//alloc/base:check",
            "//runtime:go",
            "//runtime/sched:scheduler",
            "@com_google_googletest//:gtest",
        ] + deps,
        alwayslink = True,
    )
