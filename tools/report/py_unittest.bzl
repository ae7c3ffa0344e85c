"""py_unittest: a Python unittest file as a test, each method of it one case."""

load("@rules_shell//shell:sh_test.bzl", "sh_test")

def py_unittest(name, src, data = [], args = [], **kwargs):
    """Runs `src` under python3.

    Args:
      name: the target, ending in _test.
      src: the file with the unittest classes; modules beside it can be imported.
      data: what it reads and imports.
      args: its arguments, after its own name.
      **kwargs: as sh_test's.
    """
    sh_test(
        name = name,
        srcs = ["//tools/report:py_unittest.sh"],
        args = ["$(location %s)" % src] + args,
        data = [
            src,
            "//tools/report:py_unittest.py",
        ] + data,
        **kwargs
    )
