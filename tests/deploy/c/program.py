"""The C of a program that runs networks on inputs that it holds, and prints the CRC-32 of every tensor.

It is the same for every machine: text through `port.h` and no files. A line is "network run tensor crc", in decimal and
hexadecimal; with `PORT_CODES` defined the codes follow as hexadecimal digits, the bytes of each from the least
significant. After the lines of a run comes "network run ticks N", the fewest of `PORT_REPEATS` runs.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import CNetwork, CTensor, CType
from qengine.deploy.c.kernel_text import literal

Array = NDArray[Any]

_LINE = 24  # numbers on a line of an array

_HEAD = """
#include "port.h"
#include <string.h>

#ifndef PORT_REPEATS
#define PORT_REPEATS 1
#endif
#define POISON 0xA5 /* memory before a run: nothing may depend on it */

static uint32_t program_crc;
static int32_t program_network, program_run;

static void program_byte(uint32_t byte) {
    static const uint32_t steps[16] = {
        UINT32_C(0x00000000), UINT32_C(0x1DB71064), UINT32_C(0x3B6E20C8), UINT32_C(0x26D930AC),
        UINT32_C(0x76DC4190), UINT32_C(0x6B6B51F4), UINT32_C(0x4DB26158), UINT32_C(0x5005713C),
        UINT32_C(0xEDB88320), UINT32_C(0xF00F9344), UINT32_C(0xD6D6A3E8), UINT32_C(0xCB61B38C),
        UINT32_C(0x9B64C2B0), UINT32_C(0x86D3D2D4), UINT32_C(0xA00AE278), UINT32_C(0xBDBDF21C)};
    program_crc = (program_crc >> 4) ^ steps[(program_crc ^ byte) & 15U];
    program_crc = (program_crc >> 4) ^ steps[(program_crc ^ (byte >> 4)) & 15U];
}

static void program_hex(char *text, uint32_t value, int32_t digits) {
    while (digits > 0) {
        digits--;
        text[digits] = "0123456789abcdef"[value & 15U];
        value >>= 4;
    }
}

static void program_number(uint64_t value) {
    char text[24];
    int32_t i = 23;
    text[i] = 0;
    do {
        i--;
        text[i] = (char)('0' + (int32_t)(value % 10U));
        value /= 10U;
    } while (value != 0U);
    text[--i] = ' ';
    port_text(text + i);
}

/* The bytes of an element, the least significant first. */
static void program_element(const uint8_t *data, uint32_t size, uint8_t *bytes) {
    const uint16_t one = 1;
    uint8_t first;
    uint32_t i;
    memcpy(&first, &one, 1);
    for (i = 0; i < size; i++) {
        bytes[i] = data[first ? i : size - 1U - i];
    }
}

static void program_tensor(int32_t id, const void *data, uint32_t bytes, uint32_t size) {
    char text[24] = {0};
    uint8_t element[8];
    uint32_t i, k;
    program_crc = UINT32_C(0xFFFFFFFF);
    for (i = 0; i < bytes; i += size) {
        program_element((const uint8_t *)data + i, size, element);
        for (k = 0; k < size; k++) {
            program_byte(element[k]);
        }
    }
    program_number((uint64_t)program_network);
    program_number((uint64_t)program_run);
    program_number((uint64_t)id);
    text[0] = ' ';
    program_hex(text + 1, ~program_crc, 8);
    port_text(text);
#ifdef PORT_CODES
    port_text(" ");
    text[2] = 0;
    for (i = 0; i < bytes; i += size) {
        program_element((const uint8_t *)data + i, size, element);
        for (k = 0; k < size; k++) {
            program_hex(text, element[k], 2);
            port_text(text);
        }
    }
#endif
    port_text("\\n");
}
"""


@dataclass(frozen=True)
class Batch:
    """Networks of one program, network i with the prefix "net" and i, and what each is fed.

    Attributes
    ----------
    networks : networks.
    runs : for each network its runs, each an array of codes for every input, in ONNX's order.
    """

    networks: Sequence[CNetwork]
    runs: Sequence[Sequence[Sequence[Array]]]

    def source(self) -> str:
        """Return the C."""
        numbers = range(len(self.networks))
        parts = ["".join(f'#include "net{n}.h"\n' for n in numbers), _HEAD]
        parts += [self._network(n) for n in numbers]
        calls = [f"    program_net{n}();" for n in numbers]
        return "\n".join([*parts, "int main(void);", "int main(void) {", *calls, "    return 0;", "}", ""])

    def _network(self, n: int) -> str:
        network, name = self.networks[n], f"net{n}"
        upper = name.upper()
        sizes = ", ".join(str(t.dtype.itemsize) for t in network.tensors)
        lines = [
            f"static const uint8_t {name}_sizes[] = {{{sizes}}};",
            *_extern_c(f"void {name}_trace(int32_t id, const void *data, uint32_t bytes)"),
            f"void {name}_trace(int32_t id, const void *data, uint32_t bytes) {{",
            f"    program_tensor(id, data, bytes, {name}_sizes[id]);",
            "}",
            f"#if {upper}_ARENA_ALIGNMENT > 4",
            f"static int64_t {name}_memory[({upper}_ARENA_BYTES + 7) / 8];",
            "#else",
            f"static int32_t {name}_memory[({upper}_ARENA_BYTES + 3) / 4 + ({upper}_ARENA_BYTES == 0)];",
            "#endif",
        ]
        for i, t in enumerate(network.outputs):
            lines.append(f"static {_c_type(t)} {name}_output{i}[{max(t.size, 1)}];")
        calls = []
        for run, arrays in enumerate(self.runs[n]):
            given = [f"{name}_memory"]
            for i, (t, array) in enumerate(zip(network.inputs, arrays, strict=True)):
                lines.append(_array(f"{name}_input{i}_{run}", t, array))
                given.append(f"{name}_input{i}_{run}")
            given += [f"{name}_output{i}" for i in range(len(network.outputs))]
            calls += [f"    memset({one}, POISON, sizeof {one});" for one in given if "_input" not in one]
            calls += [
                f"    program_run = {run};",
                "    fewest = UINT64_MAX;",
                "    for (i = 0; i < PORT_REPEATS; i++) {",
                "        ticks = port_ticks();",
                f"        {name}_run_in({', '.join(given)});",
                "        ticks = port_ticks() - ticks;",
                "        fewest = ticks < fewest ? ticks : fewest;",
                "    }",
                f"    program_number({n});",
                f"    program_number({run});",
                '    port_text(" ticks");',
                "    program_number(fewest);",
                '    port_text("\\n");',
            ]
        head = [f"static void program_{name}(void) {{", "    uint64_t ticks, fewest;", "    int32_t i;"]
        lines += [*head, f"    program_network = {n};", *calls, "}"]
        return "\n".join([*lines, ""])


def _extern_c(declaration: str) -> list[str]:
    return ["#ifdef __cplusplus", f'extern "C" {declaration};', "#else", f"{declaration};", "#endif"]


def _c_type(t: CTensor) -> str:
    return CType.of(t.dtype).name


def _array(name: str, t: CTensor, array: Array) -> str:
    numbers = [literal(int(v)) for v in np.asarray(array).reshape(-1).tolist()] or ["0"]
    rows = [", ".join(numbers[i : i + _LINE]) for i in range(0, len(numbers), _LINE)]
    return f"static const {_c_type(t)} {name}[] = {{\n    {(',' + chr(10) + '    ').join(rows)}}};"


@dataclass(frozen=True)
class Printed:
    """What a program printed.

    Attributes
    ----------
    checksums : CRC-32 by (network, run, tensor).
    codes : bytes of the codes, where they were printed.
    ticks : instructions or nanoseconds by (network, run), see `port.h`.
    """

    checksums: Mapping[tuple[int, int, int], int]
    codes: Mapping[tuple[int, int, int], bytes]
    ticks: Mapping[tuple[int, int], int]


def parsed(text: str) -> Printed:
    """Return the lines of a program; others are ignored, such as those of a simulator."""
    checksums, codes, ticks = {}, {}, {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) >= 4 and parts[0].isdigit() and parts[1].isdigit():
            run = int(parts[0]), int(parts[1])
            if parts[2] == "ticks":
                ticks[run] = int(parts[3])
            else:
                checksums[*run, int(parts[2])] = int(parts[3], 16)
                codes[*run, int(parts[2])] = bytes.fromhex(parts[4]) if len(parts) > 4 else b""
    return Printed(checksums, codes, ticks)


def checksum(t: CTensor, codes: Array) -> int:
    """Return the CRC-32 of a tensor as the program prints it; the codes are in ONNX's order."""
    return zlib.crc32(t.placed(codes.reshape(t.shape)).astype(little(t)).tobytes())


def little(t: CTensor) -> np.dtype[Any]:
    """Return the type of the elements of a tensor in the program's lines."""
    return np.dtype(np.uint8) if t.dtype.kind == "b" else t.dtype.newbyteorder("<")
