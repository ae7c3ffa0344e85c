"""The product's own source, made to run under exploration."""

load("@rules_cc//cc:defs.bzl", "cc_library")
load("//tools/deps:plimsoll.bzl", "plimsoll_cc_test")

# What every file needs: atomics that are the explorer's.
_ALWAYS = {
    "#include <atomic>": "#include \"plimsoll/tests/model/atomic.h\"",
    "std::atomic": "::plimsoll::model::atomic",
}

def _modelled_impl(ctx):
    # Faults first: they quote the product's text as it is. Whether a text was there at all is seen
    # by the tests, each of which demands that its fault is found.
    substitutions = {}
    for old, new in ctx.attr.faults.items():
        substitutions[old] = new.replace("PLANTED(", "::plimsoll::model::Planted(")
    substitutions.update(ctx.attr.replace)
    substitutions.update(_ALWAYS)
    ctx.actions.expand_template(
        template = ctx.file.src,
        output = ctx.outputs.out,
        substitutions = substitutions,
    )

modelled = rule(
    doc = """A copy of one file of the product under `out`, with the explorer's atomics, and with questions
where a fault can be planted: `faults` maps a text of the file to what stands there instead, in which
PLANTED("name") is true in an exploration that plants the fault. Lines keep their numbers.""",
    implementation = _modelled_impl,
    attrs = {
        "faults": attr.string_dict(),
        "out": attr.output(mandatory = True),
        "replace": attr.string_dict(doc = "Other texts, where the product asks the machine."),
        "src": attr.label(allow_single_file = True, mandatory = True),
    },
)

def modelled_library(name, srcs, hdrs, deps = [], copts = []):
    """What parks goroutines, out of files that modelled() made: compiled as in the product's tree.

    Args:
      name: the target.
      srcs: the sources.
      hdrs: the headers.
      deps: beside the explorer and what stands in for the scheduler.
      copts: beside -O2.
    """
    cc_library(
        name = name,
        srcs = srcs,
        hdrs = hdrs,
        copts = ["-O2"] + copts,
        strip_include_prefix = "product",
        deps = [
            ":explore",
            ":modelled_leaves",
            ":shadow_base",
            ":shadow_sched",
        ] + deps,
    )

def model_test(name, deps, **kwargs):
    """A search. -O2: it is code that must run fast in every configuration.

    no-sanitizer: the explorer is one thread that switches between stacks of its own, of which the
    sanitizers know nothing, and it looks for races itself.

    Args:
      name: the target; its source is name.cc.
      deps: beside the explorer and GoogleTest.
      **kwargs: as plimsoll_cc_test's.
    """
    plimsoll_cc_test(
        name = name,
        srcs = [name + ".cc"],
        copts = ["-O2"],
        tags = ["no-sanitizer"],
        deps = [
            ":explore",
            ":faults",
            "@com_google_googletest//:gtest_main",
        ] + deps,
        **kwargs
    )
