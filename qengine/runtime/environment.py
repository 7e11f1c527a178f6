"""Environment: the values of one run of a sectioned plan, by tensor name.

Sections and nodes that run alone read their inputs here and put their outputs here. A tensor in fixed point is kept as
codes of its format, as within a section. Two kinds of float tensors are kept as real numbers: inputs whose elements
decide shapes, and everything that follows from constants and shapes alone (`RuntimeValue.is_known`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.reference.elementwise import bounded
from qengine.kernels.reference.requantize import Tally, new_tally, quantize
from qengine.memory import bytes_of
from qengine.model.graph import Graph, Node
from qengine.model.steps import Tensor, codes_of
from qengine.qformat import Format, QFormat, fraction_bits_of
from qengine.runtime.control_flow import Iterations
from qengine.runtime.plan.plan import Arrays, FixedPointSettings, Plan, decode_output, quantize_input
from qengine.runtime.values import RuntimeValue

MAX_SHAPE_ELEMENTS = 4096
"""The largest number of elements of a tensor that decides shapes."""


class Environment:
    """The values of one run, by tensor name.

    Attributes
    ----------
    graph : the graph that runs.
    fixed : fixed-point arithmetic; None in float32.
    tallies : counts of every tensor in fixed point, which the run adds to; None to count nothing.
    iterations : count of the iterations of the whole run.
    known : tensors that are known before every run. Other real numbers are data, also where this run computed them from
        constants alone, as a Loop may.
    """

    def __init__(
        self,
        graph: Graph,
        fixed: FixedPointSettings | None,
        tallies: dict[str, Tally] | None,
        iterations: Iterations,
        known: frozenset[str],
    ) -> None:
        self.graph, self.fixed, self.tallies, self.iterations, self.known = graph, fixed, tallies, iterations, known
        self._values: dict[str, RuntimeValue] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> RuntimeValue:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def bytes(self) -> int:
        """Return the size of all values."""
        return sum(bytes_of(value.value) for value in self._values.values())

    def feed(self, feeds: Mapping[str, RuntimeValue], value_inputs: Collection[str]) -> None:
        """Store the inputs of the graph; quantize those that have a format and do not decide shapes.

        Parameters
        ----------
        feeds
            A value for every input of the graph: real numbers or codes.
        value_inputs
            Inputs whose elements decide shapes.
        """
        for name in (value.name for value in self.graph.inputs):
            fed = feeds[name]
            if name in value_inputs and decides(fed.value):
                self._values[name] = replace(fed, is_known=True) if fed.format is None else fed
                continue
            fmt = self.format_of(name, fed)
            if fmt is not None and fed.format is None and isinstance(fed.value, np.ndarray):
                tensor = Tensor(name, fed.value.dtype, fed.value.shape, None, fmt)
                codes = quantize_input(tensor, fed.value, self.fixed, self.tallies)
                fed = RuntimeValue(codes, fmt, real_dtype=fed.value.dtype)
            self._values[name] = self._converted(name, self._as_data(name, fed), fmt)

    def lookup(self, name: str) -> RuntimeValue:
        """Return a computed tensor or a constant; raise ModelError where there is none of that name."""
        if name in self._values:
            return self._values[name]
        if name in self.graph.constants:
            return RuntimeValue(self.graph.constants[name], None, is_known=True)
        raise ModelError(f"tensor '{name}' does not exist when it is read")

    def output(self, name: str) -> RuntimeValue:
        """Return an output of the graph, which may be a constant."""
        return self._values[name] if name in self._values else RuntimeValue(self.graph.constants[name])

    def store_section(self, plan: Plan, arrays: Arrays) -> None:
        """Store the outputs of a section: those that its run computed, and those that its plan knows."""
        for name, tensor in plan.outputs.items():
            if name in self._values:
                continue
            if tensor.value is not None:
                value = RuntimeValue(tensor.value, None, is_known=True)
                self._values[name] = self._converted(name, self._as_data(name, value), self.format_of(name, value))
            elif name in arrays:
                self._values[name] = RuntimeValue(arrays[name], tensor.format, real_dtype=tensor.dtype)

    def store_output(self, name: str, value: RuntimeValue, node: Node) -> None:
        """Store an output of a node that ran alone, as codes where the tensor has a format.

        Raises
        ------
        UnsupportedError
            If the node computed in float32 what is in fixed point, and the run is strict.
        """
        self._values[name] = self._as_data(name, self._encoded(name, value, node))

    def keep_only(self, names: Collection[str]) -> None:
        """Drop all values but those of the names."""
        for name in self._values.keys() - names:
            del self._values[name]

    def format_of(self, name: str, value: RuntimeValue) -> QFormat | None:
        """Return the format in which a value is kept; None for real numbers and for values that are not float tensors.

        The element of an optional is kept as real numbers, as the elements of a sequence are.

        Raises
        ------
        FormatError
            If the tensor needs a format and has none.
        """
        if self.fixed is None or value.dtype is None or value.dtype.kind != "f":
            return None
        if value.is_known and name in self.known:
            return None
        declared = self.graph.values.get(name)
        if declared is not None and declared.container is not None:
            return None
        return self.fixed.formats.activation(name)

    def _as_data(self, name: str, value: RuntimeValue) -> RuntimeValue:
        """Return a value of real numbers as data, unless it is known before every run."""
        is_data = value.dtype is not None and value.dtype.kind == "f" and name not in self.known
        return replace(value, is_known=False) if value.is_known and is_data else value

    def _converted(self, name: str, value: RuntimeValue, fmt: Format | None) -> RuntimeValue:
        """Return a value in another format; None decodes it."""
        if value.format == fmt or not isinstance(value.value, np.ndarray):
            return value
        if value.format is None and value.value.dtype.kind != "f":
            return value
        real = real_numbers(value)
        if fmt is None:
            return RuntimeValue(real)
        assert self.fixed is not None
        word = self.fixed.rules.modes("convert", name).word(fmt)
        return RuntimeValue(quantize(real, fraction_bits_of(fmt, real.ndim), word), fmt, real_dtype=real.dtype)

    def _encoded(self, name: str, value: RuntimeValue, node: Node) -> RuntimeValue:
        fmt = self.format_of(name, value)
        if node.activation is not None and value.format is None:
            value = RuntimeValue(bounded(value.array, node.activation.low, node.activation.high))
        if fmt is None or not isinstance(value.value, np.ndarray) or value.format == fmt:
            return value
        real = real_numbers(value)
        if real.dtype.kind != "f":
            return value
        assert self.fixed is not None
        if not node.graphs and self.fixed.strict:
            raise UnsupportedError("strict: no fixed-point rule; it would run as a float32 island")
        tally = None if self.tallies is None else self.tallies.setdefault(name, new_tally())
        return RuntimeValue(
            codes_of(real, name, fmt, self.fixed.rules.of("convert", name), tally), fmt, real_dtype=real.dtype
        )


def real_numbers(value: RuntimeValue) -> Any:
    """Return the real numbers that codes represent, and any other value unchanged."""
    return decode_value(value, raw=False)


def decode_value(value: RuntimeValue, raw: bool) -> Any:
    """Return a value as real numbers, or as codes where `raw` is set; see `decode_output`."""
    if value.format is None:
        return value.value
    return decode_output(Tensor("", value.real_dtype, value.array.shape, None, value.format), value.array, raw)


def returned(value: RuntimeValue, raw: bool) -> Any:
    """Return a value as `InferenceSession.run` returns it: new arrays, real numbers unless codes are requested."""
    return _copied(decode_value(value, raw))


def _copied(value: Any) -> Any:
    """Return a tensor, sequence, map or None that shares no memory with another one."""
    if isinstance(value, np.ndarray):
        return np.array(value, order="C")
    if isinstance(value, list):
        return [_copied(element) for element in value]
    return dict(value) if isinstance(value, dict) else value


def decides(value: Any) -> bool:
    """Whether a plan may depend on the elements of an input: a number, or a vector of limited length."""
    return isinstance(value, np.ndarray) and value.ndim <= 1 and value.size <= MAX_SHAPE_ELEMENTS


def shape_elements(name: str, value: RuntimeValue) -> NDArray[Any]:
    """Return the elements of a computed tensor that decides shapes; raise UnsupportedError where they are too many."""
    if value.array.size > MAX_SHAPE_ELEMENTS:
        raise UnsupportedError(
            f"the elements of '{name}' decide shapes or options, and it has {value.array.size:,} of them: "
            f"at most {MAX_SHAPE_ELEMENTS:,} are supported"
        )
    elements: NDArray[Any] = real_numbers(value)
    return elements
