"""net.h: what a program calls, with the sizes and formats of inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence

from qengine.deploy.c.arena import Arena
from qengine.deploy.c.emit.float_io import declarations
from qengine.deploy.c.emit.formats import c_type, macros, order_text, shape_text, value_text
from qengine.deploy.c.emit.parameters import parameter_of, parameters
from qengine.deploy.c.emit.pixels import pixel_comment
from qengine.deploy.c.emit.stamp import Stamp, comment, plain
from qengine.deploy.c.emit.templates import filled
from qengine.deploy.c.emit.tensors import axes_of
from qengine.deploy.c.ir import CNetwork, CTensor
from qengine.deploy.pixel_codes import PixelCodes

_LEAST_ALIGNMENT = 4
_TEXT = """#ifndef NET_H
#define NET_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

@described@/* Memory for everything between inputs and outputs: bytes, and the alignment of the first of them. */
#define NET_ARENA_BYTES @bytes@
#define NET_ARENA_ALIGNMENT @alignment@

/* Compute the outputs from the inputs, in a static arena: one call at a time. Inputs hold the codes above and no
 * others, as tables have no entries for those; inputs, outputs and the arena share no memory. */
void net_run(@parameters@);

/* The same in an arena of the caller, of NET_ARENA_BYTES at a multiple of NET_ARENA_ALIGNMENT: calls may run at the
 * same time, each in an arena of its own. It needs no values before, and holds none after. */
void net_run_in(void *arena, @parameters@);

/* Compute known answers: 0 where all tensors are right, 1 + the number of the first operator that is wrong, or -1 where
 * nothing was compared. It is in @name@_check.c, and needs all files compiled with -D@upper@_TRACE. */
int net_check(void);

#ifdef NET_TRACE
#define NET_TENSORS @tensors@
#define NET_AXES @axes@

/* A tensor: the inputs first, then the results of operators in the order in which they run. */
struct net_tensor {
    const char *name; /* in the model */
    const char *operation; /* operator and name of the node that computes it */
    int32_t elements;
    int16_t operator_number; /* -1 for an input */
    uint8_t bytes; /* of an element */
    uint8_t is_signed;
    uint8_t bits; /* of a code */
    uint8_t axes;
    int32_t shape[NET_AXES];
    uint8_t order[NET_AXES]; /* axes in memory, the outermost first */
    int16_t fraction_bits; /* 32767: it has none, or several */
};
extern const struct net_tensor net_tensors[NET_TENSORS];

/* The hook: it gets each tensor once it is computed, with the number of its bytes. See @name@_trace.h. */
void net_trace(int32_t id, const void *data, uint32_t bytes);
#endif

@float_io@
#ifdef __cplusplus
}
#endif

#endif
"""


def header(arena: Arena, name: str, stamp: Stamp, pixels: Sequence[PixelCodes] = ()) -> str:
    """Return the text of net.h."""
    network = arena.network
    parts = {
        "name": name,
        "upper": name.upper(),
        "described": "".join(_described(t, role, name, pixels) for role, t in _border(network)),
        "bytes": arena.bytes,
        "alignment": max([_LEAST_ALIGNMENT, *(r.width for r in arena.regions)]),
        "parameters": ", ".join(parameters(network)),
        "tensors": len(network.tensors),
        "axes": axes_of(network),
        "float_io": declarations(network, name),
    }
    return stamp.c(f"{name}.h: a network in fixed point; README.md says how to use it.") + filled(_TEXT, name, **parts)


def _border(network: CNetwork) -> list[tuple[str, CTensor]]:
    return [*(("input", t) for t in network.inputs), *(("output", t) for t in network.outputs)]


def _described(tensor: CTensor, role: str, name: str, pixels: Sequence[PixelCodes]) -> str:
    title = "" if tensor.name == parameter_of(tensor) else f" ('{plain(tensor.name)}' in the model)"
    lines = [
        f"{parameter_of(tensor)}{title}: {role}, {shape_text(tensor)}, {c_type(tensor)} {order_text(tensor)}",
        value_text(tensor),
        *pixel_comment(next((one for one in pixels if one.input == tensor.name), None), name),
    ]
    return comment(lines) + "\n".join(macros(tensor, name)) + "\n\n"
