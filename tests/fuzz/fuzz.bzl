"""A fuzz target: a test that replays its corpus, and under --config=fuzz a libFuzzer program."""

load("//tools/deps:plimsoll.bzl", "plimsoll_cc_test")

def fuzz_target(name, srcs, corpora, deps, **kwargs):
    """Declares one fuzz target.

    Args:
      name: the target, ending in _fuzz.
      srcs: the file that defines LLVMFuzzerTestOneInput.
      corpora: files of inputs, one a line (replay.cc tells the escapes).
      deps: of the sources.
      **kwargs: as plimsoll_cc_test's.
    """
    plimsoll_cc_test(
        name = name,
        srcs = srcs,
        args = ["$(location %s)" % corpus for corpus in corpora],
        data = corpora,
        linkopts = select({
            "//tests/fuzz:libfuzzer": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps + select({
            "//tests/fuzz:libfuzzer": [],
            "//conditions:default": ["//tests/fuzz:replay"],
        }),
        # One thread: TSan has nothing to say, and takes ten times as long.
        tags = kwargs.pop("tags", []) + ["no-tsan"],
        **kwargs
    )
