"""The kind table: a function of one variable, in fixed point one entry for every input code."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError
from qengine.kernels.reference.device_table import DeviceTable, make_device_table
from qengine.kernels.reference.requantize import Tally
from qengine.kernels.reference.table import Function, count_table, look_up, make_table
from qengine.kernels.reference.word import Codes, Word
from qengine.model.rules import Arithmetic, Kind, TableRule
from qengine.model.steps.composition import Composition
from qengine.model.steps.step import Kernel, OneOperand, Tensor

_CHUNK_ELEMENTS = 1 << 15
"""Number of elements that are computed at a time in float32, so that float64 intermediates stay in a cache."""


def _on_reals(function: Function, x: NDArray[Any]) -> NDArray[Any]:
    return function.rounded(x) if isinstance(function, Composition) else function(x.astype(np.float64))


@dataclass(frozen=True, eq=False)
class Table(OneOperand):
    """A function of one variable, element by element: out = function(x).

    Attributes
    ----------
    x : argument, floating point.
    function : function of float64 arrays, made of operations that give the same bits on every machine.
    """

    kind: ClassVar[str] = "table"
    rule_kind: ClassVar[Kind] = "table"
    function: Function

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The shape of the argument."""
        return self.x.shape

    def float32(self) -> Kernel:
        """Return the kernel on real numbers: in float64, a composition with every stage rounded."""
        function = self.function

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            y, flat = np.empty(x.shape, x.dtype), x.reshape(-1)
            for start in range(0, x.size, _CHUNK_ELEMENTS):
                piece = flat[start : start + _CHUNK_ELEMENTS]
                y.reshape(-1)[start : start + _CHUNK_ELEMENTS] = _on_reals(function, piece)
            return y

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes."""
        source = self.x.one_format.word()
        entries, saturates, underflows = self.table(out, arithmetic)

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            (codes,) = arrays
            result = look_up(codes, entries, source.least)
            if tally is not None:
                count_table(codes, result, source.least, saturates, underflows, tally)
            return result

        return run

    def table(self, out: Tensor, arithmetic: Arithmetic) -> tuple[Codes, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the code of the output for every code of x, in ascending order, and which saturate and underflow."""
        word, rule, source = arithmetic.word(out.one_format), arithmetic.table, self.x.one_format.word()
        numbers = source, self.x.fraction_bits, out.fraction_bits, word
        if rule.method == "full" or source.bits < rule.min_bits:
            return make_table(self.function, *numbers)
        return make_device_table(self.function, self._device_table(out, rule), *numbers)

    def _device_table(self, out: Tensor, rule: TableRule) -> DeviceTable:
        """Return the table of a device for this function."""
        own, method = out.one_format, str(rule.method)
        if method == "shared_sigmoid":
            names: dict[tuple[str, ...], str] = {("Sigmoid",): "shared_sigmoid", ("Tanh",): "shared_tanh"}
            name = names.get(rule.functions)
            if name is None:
                listed = ", ".join(rule.functions)
                raise OptionError(
                    f"table.method = shared_sigmoid is for Sigmoid and Tanh, and not for {listed}: "
                    "leave it out of table.functions, or give another (--rule table.method=full, rules=)"
                )
            return DeviceTable(name, 0, 0, False, "", "", Word(16, True), 15)
        x = self.x.one_format
        limit_bits = x.integer_bits if rule.limit == "input" else rule.limit.bit_length() - 1
        signed = own.signed if rule.entry_bits is None else True
        bits = own.bits if rule.entry_bits is None else rule.entry_bits
        entry = Word(bits, signed, rule.entry_rounding, rule.entry_overflow)
        n = own.fraction_bits if rule.entry_fraction_bits is None else rule.entry_fraction_bits
        ways = rule.has_end, rule.index_rounding, rule.line_rounding
        return DeviceTable(method, rule.entries, limit_bits, *ways, entry, n)
