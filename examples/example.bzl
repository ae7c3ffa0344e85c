"""An example: a program, and a test that its output is the golden one beside it."""

load("@rules_shell//shell:sh_test.bzl", "sh_test")
load("//tools/deps:plimsoll.bzl", "plimsoll_cc_binary")

def plimsoll_example(name, deps, args = [], env = {}, tags = []):
    """Declares NAME from NAME.cc and NAME_test against expected_output.txt.

    Args:
      name: the program.
      deps: what it uses of Plimsoll.
      args: of the program, when the test runs it.
      env: the same.
      tags: of the test.
    """
    plimsoll_cc_binary(
        name = name,
        srcs = [name + ".cc"],
        visibility = ["//visibility:public"],
        deps = deps,
    )
    sh_test(
        name = name + "_test",
        size = "small",
        srcs = ["//examples:golden_test.sh"],
        args = [
            "$(rootpath :%s)" % name,
            "$(rootpath expected_output.txt)",
        ] + args,
        data = [
            "expected_output.txt",
            ":" + name,
        ],
        env = env,
        tags = tags,
    )
