"""C functions of kernels as text, and their instances for the types of a network.

The files `kernels/*.h` hold blocks of C. A block begins with a line that names it, its type parameters and the blocks
that it calls:

    /// table(x, y) needs clamp, load(x)

In the text of the block, `$x_t` is the type of elements of the parameter x in C and `$x` its short name, as in
`net_table_$x$y`; every function that depends on types carries them in its name. `$restrict ` stands before pointers
that share no memory with others. In the instance for an output that shares the memory of an input it is empty, and `$o`
in a name is "_o". `net_` and `NET_` become the prefix of the network. A block that has a struct of numbers declares it
as `struct net_NAME` with one field on a line; it is written once, as its text must not depend on types.

An instance is text with all of this replaced. `Kernels` collects the instances that a network needs, each once, with
those that they call before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from qengine.deploy.c.ir import CType, Parameters

_HEADER = re.compile(r"^/// (\w+)(?:\(([\w, ]*)\))?(?: needs (.*))?$")
_NEEDED = re.compile(r"(\w+)(?:\(([\w, ]*)\))?")
_STRUCT = re.compile(r"struct net_(\w+) \{\n(.*?)\n\};\n*", re.DOTALL)
_FIELD = re.compile(r"^\s*(?:const )?(?:struct net_(\w+)|\w+) (\w+);")


@dataclass(frozen=True)
class Field:
    """A field of a struct of numbers.

    Attributes
    ----------
    name : name.
    struct : name of the struct that it is, without its prefix; None for a number.
    """

    name: str
    struct: str | None


@dataclass(frozen=True)
class Block:
    """A block of C.

    Attributes
    ----------
    name : name.
    types : names of its type parameters.
    needs : blocks that it calls, with the parameters that they get.
    struct : text that declares its struct of numbers; "" where it has none.
    fields : fields of the struct.
    text : the rest of its text.
    """

    name: str
    types: tuple[str, ...]
    needs: tuple[tuple[str, tuple[str, ...]], ...]
    struct: str
    fields: tuple[Field, ...]
    text: str


@cache
def blocks() -> Mapping[str, Block]:
    """Return all blocks by name."""
    found: dict[str, Block] = {}
    folder = files("qengine.deploy.c") / "kernels"
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.endswith(".h"):
            for block in _blocks_of(path.read_text(encoding="utf-8")):
                assert block.name not in found, block.name
                found[block.name] = block
    return found


_TAKEN = "arena memory scratch null eof memcpy memset step"


@cache
def taken_names() -> frozenset[str]:
    """Return identifiers that no tensor may have: of the source, and beginnings of the names of kernels.

    A tensor "row" would have the constants `net_row_shift`, which is a kernel.
    """
    parts = (name.split("_") for name in blocks())
    return frozenset(_TAKEN.split()).union("_".join(p[:n]) for p in parts for n in range(1, len(p)))


def _blocks_of(text: str) -> Iterable[Block]:
    header: re.Match[str] | None = None
    lines: list[str] = []
    for line in [*text.splitlines(), None]:
        match = None if line is None else _HEADER.match(line)
        if line is None or match:
            if header is not None:
                yield _block(header, "\n".join(lines).strip("\n") + "\n")
            header, lines = match, []
        else:
            lines.append(line)


def _block(header: re.Match[str], text: str) -> Block:
    name, types, needs = header.groups()
    struct = _STRUCT.search(text)
    own = struct is not None and struct[1] == name
    assert struct is None or own, f"block {name} declares struct net_{struct[1]}"
    fields = [_FIELD.match(line) for line in struct[2].splitlines()] if struct else []
    return Block(
        name,
        _names(types),
        tuple((m[1], _names(m[2])) for m in _NEEDED.finditer(needs or "")),
        struct[0].strip("\n") + "\n" if struct else "",
        tuple(Field(m[2], m[1]) for m in fields if m),
        text.replace(struct[0], "") if struct else text,
    )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


@dataclass
class Kernels:
    """The instances of blocks that a network needs.

    Attributes
    ----------
    prefix : name of the network.
    """

    prefix: str
    _texts: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _structs: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, types: Mapping[str, np.dtype[Any]], shares: bool = False) -> str:
        """Add an instance and those that it needs, and return the name of its function in C."""
        block = blocks()[name]
        assert set(types) == set(block.types), (name, block.types, tuple(types))
        is_other = shares and ("$restrict " in block.text or "$o(" in block.text)
        key: tuple[Any, ...] = (name, *(CType.of(types[t]) for t in block.types), is_other)
        if key not in self._texts:
            for other, given in block.needs:
                wanted = blocks()[other].types
                assert len(wanted) == len(given), (name, other)
                self.add(
                    other,
                    {w: types[g] if g in types else _fixed(g) for w, g in zip(wanted, given, strict=True)},
                    key[-1],
                )
            for one in block.fields:
                if one.struct is not None and one.struct not in self._structs:
                    self.add(one.struct, {})
            if block.struct:
                self._structs.setdefault(name, prefixed(block.struct, self.prefix))
            self._texts[key] = prefixed(_replaced(block.text, block, types, is_other), self.prefix)
        suffix = "".join(CType.of(types[t]).short for t in block.types)
        return f"{self.prefix}_{name}{'_' if suffix else ''}{suffix}{'_o' if is_other else ''}"

    @property
    def text(self) -> str:
        """The structs, then the functions, those that are called before their callers."""
        return "\n".join([*self._structs.values(), *(t for t in self._texts.values() if t.strip())])


def _fixed(name: str) -> np.dtype[Any]:
    """Return the type of a parameter that a block fixes, as in `clamp(i32)`."""
    return np.dtype({"i": "int", "u": "uint"}[name[0]] + name[1:])


def _replaced(text: str, block: Block, types: Mapping[str, np.dtype[Any]], shares: bool) -> str:
    words = {"restrict": "" if shares else "NET_RESTRICT ", "o": "_o" if shares else ""}
    for name in block.types:
        found = CType.of(types[name])
        words |= {f"{name}_t": found.name, name: found.short}
    names = "|".join(sorted(words, key=len, reverse=True))
    return re.sub(rf"\$({names})(?![a-z])", lambda m: words[m[1]], text.replace("$restrict ", words["restrict"]))


def prefixed(text: str, prefix: str) -> str:
    """Return text of C in which the names `net_...` and `NET_...` begin with another prefix."""
    if prefix == "net":
        return text
    return re.sub(r"\bNET_", f"{prefix.upper()}_", re.sub(r"\bnet_", f"{prefix}_", text))


def initializer(name: str, numbers: Parameters) -> str:
    """Return the initializer of a struct of numbers, its fields in their order in C with their names as comments."""
    block = blocks()[name]
    assert {f.name for f in block.fields} == set(numbers), (name, [f.name for f in block.fields], list(numbers))
    parts = []
    for one in block.fields:
        value = numbers[one.name]
        if one.struct is not None:
            assert isinstance(value, Mapping)
            parts.append(f"/* {one.name} */ {initializer(one.struct, value)}")
        else:
            assert not isinstance(value, Mapping)
            parts.append(f"/* {one.name} */ {literal(int(value))}")
    return "{" + ", ".join(parts) + "}"


def literal(value: int) -> str:
    """Return a number in C, of a type that holds it on every machine."""
    if value == -(1 << 63):
        return "(-INT64_C(9223372036854775807) - 1)"
    if value == -(1 << 31):
        return "(-INT32_C(2147483647) - 1)"
    if -(1 << 15) < value < 1 << 15:
        return str(value)
    if -(1 << 31) < value < 1 << 31:
        return f"INT32_C({value})" if value >= 0 else f"-INT32_C({-value})"
    if value >= 1 << 63:
        return f"UINT64_C({value})"
    return f"INT64_C({value})" if value >= 0 else f"-INT64_C({-value})"
