"""A file of another target as the optimised build makes it, whatever this build is."""

def _to_opt_impl(_settings, _attr):
    return {"//command_line_option:compilation_mode": "opt"}

_to_opt = transition(
    implementation = _to_opt_impl,
    inputs = [],
    outputs = ["//command_line_option:compilation_mode"],
)

def _optimized_file_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = out, target_file = ctx.files.src[0])
    return [DefaultInfo(files = depset([out]), runfiles = ctx.runfiles(files = [out]))]

optimized_file = rule(
    doc = "The one file of `src`, built with --compilation_mode=opt, under this rule's name.",
    implementation = _optimized_file_impl,
    attrs = {
        "src": attr.label(cfg = _to_opt, mandatory = True),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
    },
)
