"""The files of a network: header, source, weights, kernels and trace."""

from __future__ import annotations

from dataclasses import dataclass

from qengine.deploy.c.arena import Arena, plan_arena
from qengine.deploy.c.emit.source import SourceWriter, array_text, parameters
from qengine.deploy.c.ir import CNetwork, Constant, CType
from qengine.deploy.c.kernel_text import Kernels, blocks, prefixed


@dataclass(frozen=True)
class Source:
    """The files of a network as text.

    Attributes
    ----------
    files : text of each file by name.
    arena : where tensors are in memory, and the network as it is written.
    """

    files: dict[str, str]
    arena: Arena


def source_files(network: CNetwork, name: str = "net") -> Source:
    """Return the files of a network.

    Parameters
    ----------
    network
        The network.
    name
        Prefix of all names in C, and of the files.
    """
    arena = plan_arena(network)
    network = arena.network
    kernels = Kernels(name)
    text = SourceWriter(arena, name, kernels).text()
    constants = list({id(c): c for one in network.operations for c in one.constants}.values())
    linked = [c for c in constants if not c.is_visible]
    externs = "".join(
        f"extern const {CType.of(c.array.dtype).name} {name}_{c.c_name}[{max(c.array.size, 1)}];\n" for c in linked
    )
    upper = name.upper()
    head = (
        f'#include "{name}.h"\n#include "{name}_kernels.h"\n\n#ifdef {upper}_TRACE\n#include "{name}_trace.h"\n'
        f"#else\n#define {upper}_TRACED(id, data, size) ((void)0)\n#endif\n\n"
    )
    files = {
        f"{name}.h": _header(network, arena, name),
        f"{name}.c": head + _extern(externs) + "\n" + text,
        f"{name}_weights.c": _weights(linked, externs, name),
        f"{name}_kernels.h": _kernels(kernels, name),
        f"{name}_trace.h": _trace(name),
    }
    return Source(files, arena)


def _header(network: CNetwork, arena: Arena, name: str) -> str:
    given = ", ".join(parameters(network))
    upper = name.upper()
    return (
        f"#ifndef {upper}_H\n#define {upper}_H\n\n#include <stdint.h>\n\n"
        f"#define {upper}_ARENA_BYTES {arena.bytes}\n\n"
        f'#ifdef __cplusplus\nextern "C" {{\n#endif\n\n'
        f"void {name}_run({given});\nvoid {name}_run_in(void *arena, {given});\n\n"
        "#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
    )


def _extern(text: str) -> str:
    """Return declarations whose names C++ leaves as they are."""
    return f'#ifdef __cplusplus\nextern "C" {{\n#endif\n{text}#ifdef __cplusplus\n}}\n#endif\n'


def _weights(linked: list[Constant], externs: str, name: str) -> str:
    arrays = "\n".join(f"/* {c.comment} */\n{array_text(name, c)}" for c in linked)
    return "#include <stdint.h>\n\n" + _extern(f"{externs}\n{arrays}\n")


def _kernels(kernels: Kernels, name: str) -> str:
    upper = name.upper()
    base = prefixed(blocks()["base"].text, name)
    return (
        f"#ifndef {upper}_KERNELS_H\n#define {upper}_KERNELS_H\n\n#include <stdint.h>\n#include <string.h>\n\n"
        f"{base}\n{kernels.text}\n#endif\n"
    )


def _trace(name: str) -> str:
    upper = name.upper()
    return (
        f"#ifndef {upper}_TRACE_H\n#define {upper}_TRACE_H\n\n#include <stdint.h>\n\n"
        f'#ifdef __cplusplus\nextern "C" {{\n#endif\n\n'
        "/* Called after each tensor has been computed; the program that links the network defines it. */\n"
        f"void {name}_trace(int32_t id, const void *data, uint32_t bytes);\n\n"
        "#ifdef __cplusplus\n}\n#endif\n\n"
        f"#define {upper}_TRACED(id, data, size) {name}_trace(id, data, (uint32_t)((size) * sizeof *(data)))\n\n"
        "#endif\n"
    )
