"""The files of a network: header, source, weights, kernels and trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qengine.deploy.c.arena import Arena, ArenaOptions, plan_arena
from qengine.deploy.c.emit.float_io import definitions
from qengine.deploy.c.emit.folding import folded
from qengine.deploy.c.emit.header import header
from qengine.deploy.c.emit.source import SourceWriter
from qengine.deploy.c.emit.stamp import Stamp
from qengine.deploy.c.emit.tensors import tensor_table
from qengine.deploy.c.emit.trace import trace_header
from qengine.deploy.c.emit.weights import externs, weights
from qengine.deploy.c.ir import CNetwork, Constant
from qengine.deploy.c.kernel_text import Kernels, blocks, prefixed
from qengine.deploy.pixel_codes import PixelCodes
from qengine.model.rules import Rules

NO_STAMP = Stamp("", "", "")


@dataclass(frozen=True)
class Source:
    """The files of a network as text.

    Attributes
    ----------
    files : text of each file by name.
    arena : places of tensors in memory, and the network that is written.
    constants : constant arrays.
    """

    files: dict[str, str]
    arena: Arena
    constants: tuple[Constant, ...]

    @property
    def network(self) -> CNetwork:
        """The network as it is written."""
        return self.arena.network


def source_files(
    network: CNetwork,
    name: str = "net",
    stamp: Stamp = NO_STAMP,
    rules: Rules | None = None,
    *,
    pixels: Sequence[PixelCodes] = (),
    one_file: bool = False,
    ram: int | None = None,
) -> Source:
    """Return the files of a network.

    Parameters
    ----------
    network
        The network.
    name
        Prefix of all names in C, and of the files.
    stamp
        First lines of the files.
    rules
        Rules of the session, by which floats become codes; None for those of a run without any.
    pixels
        Codes of the pixels of pictures, for comments.
    one_file
        Whether kernels, hook and weights are in the source.
    ram
        Bytes that the arena may have; None for no limit.
    """
    arena = plan_arena(network, ArenaOptions(ram=ram))
    network = arena.network
    kernels = Kernels(name)
    text = folded(SourceWriter(arena, name, kernels).text())
    constants = tuple({id(c): c for one in network.operations for c in one.constants}.values())
    tail = "\n".join([tensor_table(network, name), definitions(network, rules or Rules(), name)])
    kernel_file = _kernels(kernels, name, stamp)
    hook, weight_file = trace_header(name, stamp), weights(constants, name, stamp)
    files = {f"{name}.h": header(arena, name, stamp, pixels)}
    if one_file:
        included = [_without_stamp(hook), _without_stamp(kernel_file), _without_stamp(weight_file)]
        files[f"{name}.c"] = "\n".join([_source_head(name, stamp, ()), *included, text, tail])
    else:
        head = _source_head(name, stamp, (f"{name}_trace.h", f"{name}_kernels.h"))
        files[f"{name}.c"] = "\n".join([head, externs(constants, name), text, tail])
        files[f"{name}_weights.c"] = weight_file
        files[f"{name}_kernels.h"] = kernel_file
        files[f"{name}_trace.h"] = hook
    return Source(files, arena, constants)


def _source_head(name: str, stamp: Stamp, included: Sequence[str]) -> str:
    title = f"{name}.c: a function for each operator, and {name}_run(), which calls them in order."
    lines = [f'#include "{one}"' for one in (f"{name}.h", *included)]
    return stamp.c(title, *(prefixed(line, name) for line in _OPTIONS)) + "\n".join([*lines, ""])


_OPTIONS = (
    "Compile with NET_SMALL for one body of each kernel instead of one for each call, with NET_TRACE for checks and",
    "traces, with NET_FLOAT_IO for conversions of float.",
)


def _kernels(kernels: Kernels, name: str, stamp: Stamp) -> str:
    base = blocks()["base"].text
    text = f"""#ifndef NET_KERNELS_H
#define NET_KERNELS_H

#include <stdint.h>
#include <string.h>

{base}
"""
    title = f"{name}_kernels.h: the kernels that this network uses."
    return stamp.c(title) + prefixed(text, name) + kernels.text + "\n#endif\n"


def _without_stamp(text: str) -> str:
    """Return a file without its first comment."""
    return text.partition("*/\n")[2]
