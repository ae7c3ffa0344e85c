"""heap_library: a piece of the heap, as it must be compiled wherever malloc may be ours."""

load("//tools/deps:plimsoll.bzl", "BENEATH_MALLOC_COPTS", "plimsoll_cc_library")

def heap_library(name, srcs = None, hdrs = None, **kwargs):
    """A library that runs beneath malloc.

    Its symbols are hidden, so no shared object is made of it alone.

    Args:
      name: the target.
      srcs: name.cc unless given.
      hdrs: name.h unless given.
      **kwargs: as plimsoll_cc_library's.
    """
    plimsoll_cc_library(
        name = name,
        srcs = [name + ".cc"] if srcs == None else srcs,
        hdrs = [name + ".h"] if hdrs == None else hdrs,
        copts = BENEATH_MALLOC_COPTS,
        linkstatic = True,
        **kwargs
    )
