"""net_trace.h: what happens to each tensor once it is computed."""

from __future__ import annotations

from qengine.deploy.c.emit.stamp import Stamp
from qengine.deploy.c.emit.templates import filled

_TEXT = """#ifndef NET_TRACE_H
#define NET_TRACE_H

/* NET_TRACED(id, data, elements) stands in @name@.c after each tensor, the inputs first. Without -DNET_TRACE it is
 * nothing. With it, it calls net_trace(), which @name@_check.c has: it compares checksums, and prints traces. To send
 * the codes elsewhere, link a net_trace() of your own in place of that file:
 *
 *     fwrite(data, 1, bytes, file);                     a file
 *     uart_write(net_tensors[id].name), ...             a wire
 *
 * The codes have the byte order of the machine, and in memory the order that net_tensors[id] and @name@.json say. */
#ifdef NET_TRACE
#ifndef NET_TRACED
#define NET_TRACED(id, data, elements) net_trace(id, data, (uint32_t)((elements) * sizeof *(data)))
#endif
#else
#define NET_TRACED(id, data, elements) ((void)0)
#endif

#endif
"""


def trace_header(name: str, stamp: Stamp) -> str:
    """Return the text of net_trace.h."""
    return stamp.c(f"{name}_trace.h: a hook after each tensor.") + filled(_TEXT, name, name=name)
