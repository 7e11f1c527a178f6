"""README.md of a network in C: how to build it, call it, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qengine.deploy.c.arena import drawing
from qengine.deploy.c.emit.formats import c_type, shape_text, value_text
from qengine.deploy.c.emit.parameters import parameter_of, parameters
from qengine.deploy.c.emit.pixels import pixel_section
from qengine.deploy.c.emit.project import Source
from qengine.deploy.c.emit.stamp import Stamp, plain
from qengine.deploy.c.emit.templates import filled
from qengine.deploy.pixel_codes import PixelCodes
from qengine.qformat import QFormat

_TEXT = """# @name@

A network in fixed point as C99, which is also C++17. It computes the codes of the qengine session that it was
exported from, bit for bit, in every tensor, with any compiler and on any machine with 8-bit bytes and two's
complement.

    @command@

| | |
|---|---|
| model | `@model@` |
| formats | `@formats@` |
| arena | @arena@ bytes; no arena of this network is below @bound@ |
| inputs and outputs | @inputs@ and @outputs@ bytes, of the caller |
| weights and tables | @flash@ bytes |
| products | @macs@ |

## Build

    make check                                       # on this machine: known answers
    make CROSS=arm-none-eabi- CFLAGS="-mcpu=cortex-m4 -mthumb -O2"
    make SMALL=1                                     # one body of each kernel: slower, and less code

or compile @sources@ with your own build; `CMakeLists.txt` has the library `@name@` and a test. Use `-O2` or
`-O3`: without optimization nothing is inlined and every loop reads its numbers from memory. Only `memcpy` and
`memset` of the C library are called. There is no malloc, no recursion and no float. With `-ffunction-sections
-Wl,--gc-sections` a program that calls only `@name@_run_in` has no static arena.

## Call

```c
#include "@name@.h"

@arrays@
@name@_run(@arguments@);
```

| parameter | | elements | shape, in ONNX's order | codes |
|---|---|---|---|---|
@rows@

`@name@_run` uses a static arena, so that only one call may run at a time. `@name@_run_in(arena, ...)` takes
`@upper@_ARENA_BYTES` bytes of the caller at a multiple of `@upper@_ARENA_ALIGNMENT`. Inputs are not changed.
They hold the codes above and no others, as tables have no entries for those; inputs, outputs and the arena share no
memory.

A code is `overflow(round(value * 2^n))`, and a value is `code / 2^n`, with n = `@upper@_<NAME>_FRACTION_BITS`.
Compiled with `-D@upper@_FLOAT_IO`, `@example@` converts a float exactly as the runtime does.

@pixels@@memory@## Check

`@name@_check.c` holds @known@, and a CRC-32 of each tensor that follows from it. Compile all files with
`-D@upper@_TRACE` and call `@name@_check()`: it returns 0, or 1 + the number of the first operator that computes
something else. Its `main` prints the name of that operator; leave it out with `-D@upper@_NO_MAIN`.
`@name@_check --trace` prints every tensor for `qengine compare`, of the known answer or of raw files of codes,
one for each input.

## Guarantees

- Signed numbers never overflow, shifts are by less than the width, and no negative number is shifted. Each sum
  in 32 bits has its proved bound in a comment of `@name@.c`.
- Files are the same bytes for the same model, formats and options.
@notes@"""


def readme(
    source: Source,
    name: str,
    stamp: Stamp,
    manifest: Mapping[str, Any],
    pixels: Sequence[PixelCodes],
    sources: Sequence[str],
) -> str:
    """Return the text of README.md.

    Parameters
    ----------
    source, name, stamp
        The files in C, their prefix, and where they came from.
    manifest
        Content of net.json.
    pixels
        Codes of the pixels of pictures.
    sources
        Files to compile.
    """
    network, memory = source.network, manifest["memory"]
    border = [*((t, "input") for t in network.inputs), *((t, "output") for t in network.outputs)]
    arrays = [f"{p.removeprefix('const ')};" for p in parameters(network)]
    coded = next((t for t in network.inputs if isinstance(t.format, QFormat)), None)
    return filled(
        _TEXT,
        name,
        name=name,
        upper=name.upper(),
        command=plain(manifest["command"]),
        model=stamp.model,
        formats=stamp.formats,
        arena=f"{memory['arena']:,}",
        bound=f"{memory['bound']:,}",
        inputs=f"{memory['inputs']:,}",
        outputs=f"{memory['outputs']:,}",
        flash=f"{manifest['flash']:,}",
        macs=f"{manifest['macs']:,}",
        sources=" and ".join(f"`{one}`" for one in sources),
        arrays="\n".join(arrays),
        arguments=", ".join(parameter_of(t) for t, _ in border),
        rows="\n".join(
            f"| {parameter_of(t)} | {role} | {t.size} {c_type(t)} | {shape_text(t)} | {value_text(t)} |"
            for t, role in border
        ),
        example=f"{name}_{coded.c_name}_code(value)" if coded else f"{name}_<NAME>_code(value)",
        pixels=pixel_section(pixels, name),
        memory=_memory(source),
        known=f"an input ({manifest['check']['known_answer']})",
        notes=_notes(manifest["notes"]),
    )


def _memory(source: Source) -> str:
    lines = [plain(line) for line in drawing(source.arena)]
    if not lines:
        return ""
    summary = source.arena.summary
    title = f"{summary[0].upper()}{summary[1:]}."
    return "\n".join(["## Memory", "", title, "", "```", *lines, "```", "", ""])


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return "\n## Notes\n\n" + "".join(f"- {plain(note)}\n" for note in notes)
