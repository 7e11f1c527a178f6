"""net_check.c: known answers, a program that checks them, and traces.

A checksum a tensor and one input are enough to name the operator that is wrong. It computes the same tensors with the
same kernels as the program that links net.c, on the device itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.emit.arrays import array_text
from qengine.deploy.c.emit.formats import c_type
from qengine.deploy.c.emit.parameters import parameter_of
from qengine.deploy.c.emit.stamp import Stamp, plain
from qengine.deploy.c.emit.templates import filled
from qengine.deploy.c.ir import CNetwork, Constant, CTensor

Array = NDArray[Any]
Arrays = Mapping[str, Array]

_TEXT = """#include "@name@.h"

#ifdef NET_TRACE

/* The inputs of the known answer: @source@. */
@inputs@
/* CRC-32 of every tensor: of its elements in the order of memory, the low byte of each first. */
static const uint32_t net_checksums[NET_TENSORS] = {
    @checksums@};

@outputs@
static int32_t net_first_wrong = -1; /* operator */
static int32_t net_compared = -1; /* tensors with the right checksum so far; -1 while no check runs */

static uint32_t net_crc_byte(uint32_t crc, uint32_t byte) {
    static const uint32_t table[16] = {
        UINT32_C(0x00000000), UINT32_C(0x1DB71064), UINT32_C(0x3B6E20C8), UINT32_C(0x26D930AC),
        UINT32_C(0x76DC4190), UINT32_C(0x6B6B51F4), UINT32_C(0x4DB26158), UINT32_C(0x5005713C),
        UINT32_C(0xEDB88320), UINT32_C(0xF00F9344), UINT32_C(0xD6D6A3E8), UINT32_C(0xCB61B38C),
        UINT32_C(0x9B64C2B0), UINT32_C(0x86D3D2D4), UINT32_C(0xA00AE278), UINT32_C(0xBDBDF21C)};
    crc ^= byte;
    crc = (crc >> 4) ^ table[crc & 15U];
    return (crc >> 4) ^ table[crc & 15U];
}

/* Byte `i` of an element of some bytes, the lowest first, on any machine. */
static uint32_t net_byte(const uint8_t *element, uint32_t bytes, uint32_t i) {
    const uint16_t one = 1;
    const uint8_t is_little = *(const uint8_t *)&one;
    return element[is_little != 0U ? i : bytes - 1U - i];
}

static uint32_t net_crc(const void *data, uint32_t total, uint32_t bytes) {
    const uint8_t *element = (const uint8_t *)data;
    uint32_t crc = UINT32_C(0xFFFFFFFF);
    uint32_t done, i;
    for (done = 0; done < total; done += bytes) {
        for (i = 0; i < bytes; i++) {
            crc = net_crc_byte(crc, net_byte(element + done, bytes, i));
        }
    }
    return crc ^ UINT32_C(0xFFFFFFFF);
}

#ifndef NET_NO_MAIN
static void net_print_tensor(int32_t id, const uint8_t *data, uint32_t total);
#endif

void net_trace(int32_t id, const void *data, uint32_t bytes) {
    if (net_compared >= 0) {
        if (net_crc(data, bytes, net_tensors[id].bytes) == net_checksums[id]) {
            net_compared++;
        } else if (net_first_wrong < 0) {
            net_first_wrong = net_tensors[id].operator_number < 0 ? 0 : net_tensors[id].operator_number;
        }
    }
#ifndef NET_NO_MAIN
    net_print_tensor(id, (const uint8_t *)data, bytes);
#endif
}

@compare@int net_check(void) {
    int32_t compared;
    net_first_wrong = -1;
    net_compared = 0;
    net_run(@known@);
    compared = net_compared;
    net_compared = -1;
    if (net_first_wrong < 0 && compared != NET_TENSORS) {
        return -1; /* @name@.c was compiled without NET_TRACE */
    }
@samples@    return net_first_wrong < 0 ? 0 : (int)(net_first_wrong + 1);
}

#ifndef NET_NO_MAIN
#include <stdio.h>
#include <string.h>

#ifndef NET_PUTC
#define NET_PUTC(character) putchar(character)
#endif

static int net_prints; /* whether a trace is written */

static void net_print(const char *text) {
    while (*text != 0) {
        (void)NET_PUTC((unsigned char)*text);
        text++;
    }
}

static void net_print_number(int32_t value) {
    char text[12];
    int i = 11;
    uint32_t rest = value < 0 ? 0U - (uint32_t)value : (uint32_t)value;
    text[i] = 0;
    do {
        text[--i] = (char)('0' + (int)(rest % 10U));
        rest /= 10U;
    } while (rest != 0U);
    if (value < 0) {
        text[--i] = '-';
    }
    net_print(text + i);
}

/* A line that `qengine compare` reads: number, axes, order in memory, type, name, bytes in hex, the low byte first. */
static void net_print_tensor(int32_t id, const uint8_t *data, uint32_t total) {
    const struct net_tensor *t = &net_tensors[id];
    uint32_t done, i;
    if (net_prints == 0) {
        return;
    }
    if (id == 0) {
        net_print("# qengine trace 1\\n");
    }
    net_print_number(id);
    for (i = 0; i < t->axes; i++) {
        net_print(i == 0U ? "," : "x");
        net_print_number(t->shape[i]);
    }
    for (i = 0; i < t->axes; i++) {
        net_print(i == 0U ? "," : "-");
        net_print_number(t->order[i]);
    }
    if (t->axes == 0) {
        net_print(",,");
    }
    net_print(t->is_signed != 0U ? ",i" : ",u");
    net_print_number(8 * t->bytes);
    net_print(",");
    for (done = 0; done < total; done += t->bytes) {
        for (i = 0; i < t->bytes; i++) {
            const uint32_t byte = net_byte(data + done, t->bytes, i);
            (void)NET_PUTC("0123456789abcdef"[byte >> 4]);
            (void)NET_PUTC("0123456789abcdef"[byte & 15U]);
        }
    }
    net_print(",");
    net_print(t->name);
    net_print("\\n");
}

static int net_read(const char *path, void *data, uint32_t bytes) {
    FILE *file = fopen(path, "rb");
    size_t count = 0;
    if (file != NULL) {
        count = fread(data, 1, bytes, file);
        (void)fclose(file);
    }
    if (count != bytes) {
        (void)fprintf(stderr, "@name@: %s has no %lu bytes\\n", path, (unsigned long)bytes);
        return 0;
    }
    return 1;
}

static void net_report(int result) {
    int32_t id;
    if (result == 0) {
        (void)printf("@name@: all %d tensors are right\\n", NET_TENSORS);
    }
    if (result < 0) {
        (void)printf("@name@: nothing was compared: compile all files with -D@upper@_TRACE\\n");
    }
    for (id = 0; id < NET_TENSORS && result > 0; id++) {
        if (net_tensors[id].operator_number + 1 == result) {
            (void)printf("@name@: operator %d, %s, computes a wrong tensor '%s'\\n", result - 1,
                net_tensors[id].operation, net_tensors[id].name);
            return;
        }
    }
}

/* @name@_check                      compare known answers
 * @name@_check --trace              print every tensor of the known answer
 * @name@_check --trace FILE...      print every tensor of inputs in raw files, one for each input */
int main(int count, char **words) {
    int result;
    if (count > 1 && strcmp(words[1], "--trace") == 0) {
        net_prints = 1;
        if (count == 2) {
            net_run(@known@);
            return 0;
        }
        if (count != 2 + @input_count@) {
            (void)fprintf(stderr, "@name@: give @input_count@ files, one for each input\\n");
            return 2;
        }
        {
@buffers@            if (@reads@) {
                return 2;
            }
            net_run(@read@);
        }
        return 0;
    }
    if (count > 1) {
        (void)fprintf(stderr, "@name@: %s: the only option is --trace\\n", words[1]);
        return 2;
    }
    result = net_check();
    net_report(result);
    return result == 0 ? 0 : 1;
}
#endif

#else
typedef int net_no_check; /* without NET_TRACE there is nothing to see */
#endif
"""

_COMPARE = """static int net_differs(const void *found, const void *expected, uint32_t bytes) {
    const uint8_t *a = (const uint8_t *)found;
    const uint8_t *b = (const uint8_t *)expected;
    uint32_t i;
    for (i = 0; i < bytes; i++) {
        if (a[i] != b[i]) {
            return 1;
        }
    }
    return 0;
}

"""


def check_source(
    network: CNetwork,
    name: str,
    stamp: Stamp,
    known: tuple[str, Arrays],
    checksums: Sequence[int],
    samples: Sequence[tuple[str, Arrays]] = (),
) -> str:
    """Return the text of net_check.c.

    Parameters
    ----------
    network, name, stamp
        Network, prefix, and first lines.
    known
        Words for the input of the known answer, and all its tensors.
    checksums
        CRC-32 of each tensor.
    samples
        More inputs and their tensors, of which the outputs are compared.
    """
    numbers = {t: i for i, o in enumerate(network.operations) for t in o.outputs}
    source, arrays = known
    rows = [f"UINT32_C(0x{value:08X})" for value in checksums]
    parts = {
        "name": name,
        "upper": name.upper(),
        "source": plain(source),
        "inputs": _inputs(network, name, "known", arrays),
        "checksums": ",\n    ".join(", ".join(rows[i : i + 4]) for i in range(0, len(rows), 4)),
        "outputs": _buffers(network.outputs, "output", name) + _samples(network, name, samples),
        "compare": filled(_COMPARE, name) if samples else "",
        "known": _call(network, name, "known"),
        "samples": "".join(_compared(network, name, i, numbers) for i in range(len(samples))),
        "input_count": len(network.inputs),
        "buffers": _indented(_buffers(network.inputs, "input", name)),
        "reads": " || ".join(
            f"!{name}_read(words[{2 + i}], {_array(t, 'input', name)}, {t.bytes})" for i, t in enumerate(network.inputs)
        )
        or "0",
        "read": ", ".join(
            [*(_array(t, "input", name) for t in network.inputs), *(_array(t, "output", name) for t in network.outputs)]
        ),
    }
    title = f"{name}_check.c: known answers of {name}.c; compile both with -D{name.upper()}_TRACE."
    return stamp.c(title) + filled(_TEXT, name, **parts)


def _array(tensor: CTensor, role: str, name: str) -> str:
    return f"{name}_{role}_{parameter_of(tensor)}"


def _constant(tensor: CTensor, role: str, array: Array, name: str) -> str:
    flat = tensor.placed(np.asarray(array)).astype(tensor.dtype)
    return f"static {array_text(name, Constant(f'{role}_{parameter_of(tensor)}', flat, ''))}"


def _inputs(network: CNetwork, name: str, role: str, arrays: Arrays) -> str:
    return "\n".join(_constant(t, role, arrays[t.name], name) for t in network.inputs)


def _buffers(tensors: Sequence[CTensor], role: str, name: str) -> str:
    return "".join(f"static {c_type(t)} {_array(t, role, name)}[{max(t.size, 1)}];\n" for t in tensors)


def _indented(text: str) -> str:
    return "".join(f"            {line}\n" for line in text.splitlines())


def _samples(network: CNetwork, name: str, samples: Sequence[tuple[str, Arrays]]) -> str:
    parts = []
    for i, (source, arrays) in enumerate(samples):
        parts.append(f"\n/* Sample {i}, {plain(source)}: inputs, then outputs. */\n")
        parts.append(_inputs(network, name, f"input{i}", arrays))
        parts += [_constant(t, f"expected{i}", arrays[t.name], name) for t in network.outputs]
    return "".join(parts)


def _call(network: CNetwork, name: str, role: str) -> str:
    return ", ".join(
        [*(_array(t, role, name) for t in network.inputs), *(_array(t, "output", name) for t in network.outputs)]
    )


def _compared(network: CNetwork, name: str, sample: int, numbers: Mapping[CTensor, int]) -> str:
    lines = [f"    {name}_run({_call(network, name, f'input{sample}')});"]
    for t in network.outputs:
        found, expected = _array(t, "output", name), _array(t, f"expected{sample}", name)
        lines.append(f"    if ({name}_first_wrong < 0 && {name}_differs({found}, {expected}, {t.bytes}) != 0) {{")
        lines.append(f"        {name}_first_wrong = {numbers[t]};\n    }}")
    return "\n".join([*lines, ""])
