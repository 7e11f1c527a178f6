"""net.c: a function for each operation, and `net_run`, which calls them in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qengine.deploy.c.emit.placement import Placement
from qengine.deploy.c.ir import Argument, Call, CNetwork, Constant, CTensor, CType, Operation, Scratch
from qengine.deploy.c.kernel_text import Kernels, blocks, initializer, literal

_LINE = 12  # numbers on a line of an array


@dataclass
class SourceWriter:
    """The text of net.c.

    Parameters
    ----------
    network, placement
        Network and where its tensors are.
    prefix
        Name of the network.
    kernels
        Kernels that the network needs so far; those of its calls are added.
    """

    network: CNetwork
    placement: Placement
    prefix: str
    kernels: Kernels
    _views: dict[CTensor, tuple[CTensor, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.network.operations:
            if one.view is not None:
                root, offset = self._root(one.view.tensor)
                self._views[one.output] = root, offset + one.view.offset

    def _root(self, tensor: CTensor) -> tuple[CTensor, int]:
        """Return the tensor that holds the memory of another one, and the elements before it there."""
        return self._views.get(tensor, (tensor, 0))

    def text(self) -> str:
        """Return the functions, with the constants that the compiler should see."""
        parts = [self._function(i, one) for i, one in enumerate(self.network.operations) if one.calls]
        return "\n".join([*parts, self._run_in(), self._run()])

    def _function(self, index: int, one: Operation) -> str:
        lines = []
        for constant in one.constants:
            if constant.is_visible:
                lines.append(f"/* {_comment(constant.comment)} */")
                lines.append(f"static {array_text(self.prefix, constant)}")
        names = self._names(one)
        body = []
        for number, call in enumerate(one.calls):
            function = self.kernels.add(call.kernel, call.types, one in self.placement.shares)
            arguments = [self._argument(a, call, i, names) for i, a in enumerate(call.arguments)]
            if blocks()[call.kernel].struct:
                constant_name = f"{self.prefix}_{one.output.c_name}_{call.kernel}{number or ''}_numbers"
                lines.append(f"static const struct {self.prefix}_{call.kernel} {constant_name} =")
                lines.append(f"    {initializer(call.kernel, call.numbers)};")
                arguments.insert(0, f"&{constant_name}")
            body.append(f"    {function}({', '.join(arguments)});")
        title = _comment(f"{index}: {one.node.operator} {one.node.name or one.output.name}")
        notes = "".join(f"\n * {_comment(line)}" for line in one.comments)
        lines.append(f"/* {title}{notes} */")
        lines.append(f"static void {self._step(one)}({', '.join(self._parameters(one, names))}) {{")
        return "\n".join([*lines, *body, "}\n"])

    def _step(self, one: Operation) -> str:
        return f"{self.prefix}_step_{one.output.c_name}"

    def _names(self, one: Operation) -> dict[object, str]:
        """Return the names of the pointers of a step."""
        found: dict[object, str] = {}
        for letter, tensors in (("x", one.reads), ("y", one.outputs)):
            for i, t in enumerate(tensors):
                found[t] = f"{letter}{i or ''}"
        return found

    def _parameters(self, one: Operation, names: Mapping[object, str]) -> list[str]:
        found = [f"const {CType.of(t.dtype).name} *{names[t]}" for t in one.reads]
        found += [f"{CType.of(t.dtype).name} *{names[t]}" for t in one.outputs]
        if one.scratch:
            found.append("uint8_t *scratch")
        return found

    def _argument(self, a: Argument, call: Call, place: int, names: Mapping[object, str]) -> str:
        offset = f" + {call.offsets[place]}" if call.offsets and call.offsets[place] else ""
        if a is None:
            return "0"
        if isinstance(a, CTensor):
            return f"{names[a]}{offset}"
        if isinstance(a, Constant):
            return f"{self.prefix}_{a.c_name}{offset}"
        assert isinstance(a, Scratch)
        start = f"scratch + {a.offset}" if a.offset else "scratch"
        return f"({CType.of(a.dtype).name} *)(void *)({start}){offset}"

    def _pointer(self, tensor: CTensor, is_read: bool) -> str:
        root, offset = self._root(tensor)
        const = "const " if is_read else ""
        if root.place != "arena":
            return f"{root.c_name} + {offset}" if offset else root.c_name
        start = self.placement.offsets[root] + offset * tensor.dtype.itemsize
        return f"({const}{CType.of(tensor.dtype).name} *)(void *)(memory + {start})"

    def _run_in(self) -> str:
        lines = [f"void {self.prefix}_run_in(void *arena, {', '.join(parameters(self.network))}) {{"]
        if self.placement.bytes:
            lines.append("    uint8_t *const memory = (uint8_t *)arena;")
        else:
            lines.append("    (void)arena;")
        numbers = {t: i for i, t in enumerate(self.network.tensors)}
        traced = f"{self.prefix.upper()}_TRACED"
        lines += [f"    {traced}({numbers[t]}, {t.c_name}, {t.size});" for t in self.network.inputs]
        for one in self.network.operations:
            if one.calls:
                given = [self._pointer(t, True) for t in one.reads] + [self._pointer(t, False) for t in one.outputs]
                if one.scratch:
                    given.append(f"memory + {self.placement.scratch[one]}")
                lines.append(f"    {self._step(one)}({', '.join(given)});")
            lines += [f"    {traced}({numbers[t]}, {self._pointer(t, True)}, {t.size});" for t in one.outputs]
        return "\n".join([*lines, "}\n"])

    def _run(self) -> str:
        upper = self.prefix.upper()
        given = ", ".join(t.c_name for t in (*self.network.inputs, *self.network.outputs))
        return (
            f"static int32_t {self.prefix}_arena[({upper}_ARENA_BYTES + 3) / 4 + 1];\n\n"
            f"void {self.prefix}_run({', '.join(parameters(self.network))}) {{\n"
            f"    {self.prefix}_run_in({self.prefix}_arena, {given});\n}}\n"
        )


def parameters(network: CNetwork) -> list[str]:
    """Return the parameters of `net_run`: inputs, then outputs."""
    found = [f"const {CType.of(t.dtype).name} {t.c_name}[{max(t.size, 1)}]" for t in network.inputs]
    return [*found, *(f"{CType.of(t.dtype).name} {t.c_name}[{max(t.size, 1)}]" for t in network.outputs)]


def array_text(prefix: str, constant: Constant) -> str:
    """Return the definition of an array of constants."""
    values = [literal(int(v)) for v in constant.array.tolist()] or ["0"]
    rows = [", ".join(values[i : i + _LINE]) for i in range(0, len(values), _LINE)]
    inner = ",\n    ".join(rows)
    return (
        f"const {CType.of(constant.array.dtype).name} {prefix}_{constant.c_name}[{len(values)}] = {{\n    {inner}}};\n"
    )


def _comment(text: str) -> str:
    """Return text that cannot end a comment."""
    plain = "".join(c if c.isprintable() and ord(c) < 128 else "?" for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *").rstrip("\\")
