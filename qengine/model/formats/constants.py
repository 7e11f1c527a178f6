"""Choice of the format of a constant: the filters of a linear operator, an addend, the table of a Gather.

The rule: a constant has the run's word length b and the largest number of fraction bits n at which no element
saturates, so that its quantization error is least. One limit is added. The bias of a linear operator is held in 32 bits
at n_x + n_w fraction bits, so large n_w can saturate the bias although the weights fit; n_w is then lowered until the
bias fits.

What complicates the rule:

- several operators may read one constant, and passes may turn one constant into several (a BatchNormalization folded
  into shared weights). All these copies have one format, which must hold all of them: `Readers` collects them.
- weights may have one n per output channel, if all readers agree on the axis that counts output channels.
- a bias has a format only where the user gives one; else it is held in 32 bits, at the fraction bits of the sums.
- a model that is quantized already brings formats; then a constant takes the stored format, or any format that holds it
  exactly, or stays real numbers.
- infinities saturate in every format and do not count. But the code that an infinity saturates to must do what an
  infinity does: in an Add, it must saturate every sum (a mask of -inf before a Softmax). The format leaves room for it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.lru_cache import cached_by_array
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Role, find
from qengine.model.steps import Linear
from qengine.qformat import (
    FRACTION_BITS,
    ChannelFormats,
    Format,
    QFormat,
    channel_formats,
    exact_format,
    finest_format,
    finest_per_channel,
    holds,
    largest_scale,
    largest_scales,
)

LARGEST = float(np.finfo(np.float32).max)
"""Magnitude from which a number counts as infinite: attention masks use the least float32 as minus infinity."""

NO_LIMIT = 1 << 20
"""Number of fraction bits that stands for no limit."""

_SUMS = ("Add", "Sub", "Sum")


_MAX_BIAS_BITS = 126
"""Largest number of fraction bits of a bias: float32, in which models store scales, has no smaller normal scale."""


@dataclass(frozen=True)
class Readers:
    """The nodes that read the elements of a constant in a run.

    Attributes
    ----------
    names : names of the constant and of its copies in the graph of the nodes.
    places : nodes that read the constant, each with the role of the input.
    """

    names: set[str]
    places: list[tuple[Node, Role]]
    _known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def channel_axis(self, value: NDArray[Any]) -> int | None:
        """Return the axis of the constant that counts output channels; None unless all readers agree on one."""
        axes = set()
        for node, role in self.places:
            axis = find(node).channel_axis(node, value.ndim) if role is Role.WEIGHTS else None
            axes.add(None if axis is None or not value.size or not value.ndim else axis % value.ndim)
        return axes.pop() if len(axes) == 1 else None

    def max_fraction_bits(
        self,
        activations: Mapping[str, QFormat],
        constants: Mapping[str, NDArray[Any]],
        channels: int,
        bits: int,
        values: Iterable[NDArray[Any]] = (),
    ) -> NDArray[np.int64]:
        """Return for each channel of weights the largest n that its readers allow; `NO_LIMIT` where none limits n.

        A bias is held in 32 bits at n_x + n_w fraction bits, and must not saturate there; n_x + n_w is at most
        `_MAX_BIAS_BITS`. The code of an infinity must saturate the results of the readers, as the infinity does.

        Parameters
        ----------
        activations
            Formats of the tensors that a run computes.
        constants
            Constants of the graph of the nodes, always the same.
        channels
            Number of output channels; 1 for weights with one format.
        bits
            Word length of the constant.
        values
            Elements of a constant that is none of the graph, as only the shapes of a plan made it known.
        """
        limits = np.full(channels, NO_LIMIT, np.int64)
        if self.holds_infinity(constants, values):
            magnitude = saturating_magnitude(self.names, [node for node, _ in self.places], activations)
            if magnitude:
                limits[:] = largest_scale(-magnitude, 0.0, bits)
        for node, role in self.places:
            x = activations.get(_other_factor(node, role, self.names))
            if x is not None:
                limits = np.minimum(limits, self._bias_scales(node, constants, channels) - x.fraction_bits)
        return np.where(limits > NO_LIMIT // 2, NO_LIMIT, limits)

    def holds_infinity(self, constants: Mapping[str, NDArray[Any]], values: Iterable[NDArray[Any]] = ()) -> bool:
        """Whether an element counts as infinite; see `max_fraction_bits`."""
        if self.names.isdisjoint(constants):
            return any(map(holds_infinity, values))
        if "infinity" not in self._known:
            found = any(holds_infinity(constants[name]) for name in self.names if name in constants)
            self._known["infinity"] = found
        return bool(self._known["infinity"])

    def _bias_scales(self, node: Node, constants: Mapping[str, NDArray[Any]], channels: int) -> NDArray[np.int64]:
        """Return for each channel the largest number of fraction bits at which the bias of a node fits 32 bits."""
        key = (id(node), channels)
        if key not in self._known:
            bias = next((constants[n] for n, r in find(node).roles(node) if r is Role.BIAS and n in constants), None)
            scales = np.full(channels, NO_LIMIT, np.int64)
            if bias is not None and bias.dtype.kind == "f" and bias.size:
                filters = find(node).facts.filters
                added = filters.addends(node, finite(bias)) if filters else finite(bias)
                addends = _by_channel(added, channels)
                used = addends.any(axis=1)
                least, most = addends.min(axis=1), addends.max(axis=1)
                scales[used] = largest_scales(least[used], most[used], 32)
                scales = np.minimum(scales, _MAX_BIAS_BITS)
            self._known[key] = scales
        return np.asarray(self._known[key])


def saturating_magnitude(names: set[str], readers: Iterable[Node], activations: Mapping[str, QFormat]) -> float:
    """Return the least magnitude of an operand that saturates the results of its readers as an infinity does.

    It is the largest magnitude of the format of a result; in a sum, the other terms are added. 0 where no result has a
    format.

    Parameters
    ----------
    names
        Names of the operand.
    readers
        Nodes that read it.
    activations
        Formats of the tensors that a run computes.
    """
    largest = 0.0
    for node in readers:
        result = activations.get(node.outputs[0]) if node.outputs else None
        if result is None:
            continue
        terms = node.inputs if node.operator in _SUMS and not node.domain else ()
        others = [activations[name] for name in terms if name not in names and name in activations]
        largest = max(largest, sum(-fmt.min if fmt.signed else fmt.max for fmt in (result, *others)))
    return largest


def nan_error(name: str, places: Iterable[tuple[Node, Role]]) -> FormatError:
    """Return the error for a constant that holds NaN, which nodes read: fixed point has no code for it."""
    places = list(places)
    if places and all(node.operator == "Where" for node, _ in places):
        return FormatError(
            f"constant '{name}' holds NaN, which Where picks as a fill: fixed point has no code for it; "
            "put a number there that nothing reads, such as 0"
        )
    return FormatError(f"constant '{name}' holds NaN: fixed point has no code for it")


def holds_infinity(values: NDArray[Any]) -> bool:
    """Whether an array of real numbers has an element that counts as infinite; see `LARGEST`."""
    return values.dtype.kind == "f" and bool((np.abs(values) >= _largest(values.dtype)).any())


def readers_of(graph: Graph, known: frozenset[str]) -> dict[str, Readers]:
    """Return the readers of every constant by its name in the model; nodes that no run computes do not count.

    Parameters
    ----------
    known
        Tensors whose elements are known before a run; see `known_tensors`.
    """
    result: dict[str, Readers] = {}
    for node in graph.nodes:
        if all(name in known for name in node.outputs if name):
            continue
        for name, role in find(node).roles(node):
            if role in (Role.DATA, Role.WEIGHTS):
                readers = result.setdefault(graph.derived.get(name, name), Readers(set(), []))
                readers.names.add(name)
                readers.places.append((node, role))
    return result


def biases_of(graph: Graph, known: frozenset[str], others: Container[str]) -> dict[str, set[str]]:
    """Return the constants that are nothing but biases of linear operators, by their names in the model.

    Each has the names of its copies in the graph, and a run quantizes it in a format only where the user gives one.

    Parameters
    ----------
    known
        Tensors whose elements are known before a run; see `known_tensors`.
    others
        Constants with readers of another sort; see `readers_of`.
    """
    found: dict[str, set[str]] = {}
    for node in graph.nodes:
        operator = find(node)
        if Linear in operator.kinds and not known.issuperset(filter(None, node.outputs)):
            for name, role in operator.roles(node):
                if role is Role.BIAS and name in graph.constants:
                    found.setdefault(graph.derived.get(name, name), set()).add(name)
    return {name: copies for name, copies in found.items() if name not in others}


@dataclass(frozen=True)
class ConstantFormats:
    """Rule that chooses the format of a constant, with all that it depends on.

    Attributes
    ----------
    qformat, weight_qformat, per_channel : options of the run; see `FormatRequest`.
    user_formats : formats that the user gives, by the model's names; a tuple has one format per channel.
    stored : formats that a quantized model has; None unless constants may stay real numbers.
    activations : formats of the tensors that a run computes.
    readers : readers of each constant, by the model's names.
    constants : constants of the graphs of these readers.
    """

    qformat: QFormat | None
    weight_qformat: QFormat | None
    per_channel: bool
    user_formats: Mapping[str, QFormat | tuple[QFormat, ...]]
    stored: Mapping[str, Format] | None
    activations: Mapping[str, QFormat]
    readers: Mapping[str, Readers]
    constants: Mapping[str, NDArray[Any]]

    def choose(self, name: str, values: list[NDArray[Any]]) -> Format | None:
        """Return the format of a constant of the model.

        The format that the user gives, else the one of the run's word length with the largest n at which neither the
        constant nor the constant bias of a reader saturates. In a quantized model: the stored format, else any format
        that holds the values exactly; None where there is none.

        Parameters
        ----------
        name
            Name of the constant in the model.
        values
            The constant, or the arrays that passes computed from it, each read by some operator.

        Raises
        ------
        FormatError
            If the constant holds NaN, or is given formats per channel and has no such channels.
        """
        if name in self.activations:
            return self.activations[name]
        axis = self.readers[name].channel_axis(values[0]) if name in self.readers else None
        fmt = self.user_formats.get(name)
        if fmt is not None:
            return _given(name, fmt, values[0], axis)
        if self.weight_qformat:
            return self.weight_qformat
        if any(_extremes(value) is None for value in values):
            raise nan_error(name, self.readers[name].places if name in self.readers else ())
        if self.stored is not None:
            return _exact(self.stored.get(name), axis, values)
        try:
            return self._finest(name, values, axis if self.per_channel else None)
        except FormatError as error:
            raise FormatError(f"constant '{name}': {error}") from None

    def bias(self, name: str, value: NDArray[Any]) -> Format | None:
        """Return the format that the user gives a bias; its last axis counts channels."""
        fmt = self.user_formats.get(name)
        if fmt is not None and _extremes(value) is None:
            raise nan_error(name, ())
        return None if fmt is None else _given(name, fmt, value, value.ndim - 1 if value.ndim else None)

    def _finest(self, name: str, values: list[NDArray[Any]], axis: int | None) -> Format:
        """Return the format with the largest n at which nothing saturates: one, or one per channel along `axis`."""
        bits = self._word_length(name)
        channels = 1 if axis is None else values[0].shape[axis]
        readers = self.readers.get(name, Readers(set(), []))
        limits = readers.max_fraction_bits(self.activations, self.constants, channels, bits, values)
        if axis is None:
            extremes = [_extremes(value) or () for value in values]  # without NaN there are some
            fmt = finest_format(np.array(extremes), bits)
            return _limited(fmt, int(limits[0]))
        rows = [np.moveaxis(value, axis, 0).reshape(channels, -1) for value in values]
        formats = finest_per_channel(finite(np.concatenate(rows, axis=1)), bits, 0).formats
        return ChannelFormats(tuple(map(_limited, formats, limits.tolist())), axis)

    def _word_length(self, name: str) -> int:
        """Return the run's word length or, where tensors have their own, the longest of the readers' other tensors."""
        if self.qformat:
            return self.qformat.bits
        neighbours = {n for node, _ in self._places(name) for n in (*node.inputs, *node.outputs)}
        return max((self.activations[n].bits for n in neighbours if n in self.activations), default=16)

    def _places(self, name: str) -> list[tuple[Node, Role]]:
        return self.readers[name].places if name in self.readers else []


def _given(
    name: str, fmt: QFormat | tuple[QFormat, ...], value: NDArray[Any], axis: int | None
) -> QFormat | ChannelFormats:
    """Return the format that the user gives a constant, or its formats by channel; None as axis counts no channels."""
    if isinstance(fmt, QFormat):
        return fmt
    if axis is None:
        raise FormatError(f"formats give '{name}' {len(fmt)} formats, and it has no output channels: give one format")
    if len(fmt) != value.shape[axis]:
        raise FormatError(f"formats give '{name}' {len(fmt)} formats for {value.shape[axis]} channels")
    try:
        return channel_formats(fmt, axis)
    except FormatError as error:
        raise FormatError(f"format of '{name}': {error}") from None


def _by_channel(bias: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return the elements of a bias that are added to each output channel, of shape (channels, any number).

    The last axis of a bias counts channels, group after group, or broadcasts over them.
    """
    if bias.ndim and bias.size and bias.shape[-1] % channels == 0:
        return bias.reshape(-1, channels).T
    return np.broadcast_to(bias.ravel(), (channels, bias.size))


def _other_factor(node: Node, role: Role, names: set[str]) -> str:
    """Return the tensor whose products with a constant of some names a linear operator sums; "" for another one."""
    filters = find(node).facts.filters
    if filters and (role is Role.WEIGHTS or node.hidden):
        return filters.factor(node, names)
    return (
        node.inputs[0]
        if role is Role.WEIGHTS
        else next((name for name, one in find(node).roles(node) if one is Role.WEIGHTS), "")
    )


def _exact(stored: Format | None, axis: int | None, values: list[NDArray[Any]]) -> Format | None:
    """Return a format that holds the values exactly: the stored one, else any (passes may have changed the values)."""
    fits = isinstance(stored, QFormat) or (stored is not None and stored.axis == axis)
    if stored is not None and fits and all(holds(stored, value) for value in values):
        return stored
    return exact_format(np.concatenate([value.ravel() for value in values]))


def _limited(fmt: QFormat, fraction_bits: int) -> QFormat:
    """Return the format with its fraction bits limited to a number."""
    if fmt.fraction_bits <= fraction_bits:
        return fmt
    return fmt.with_fraction_bits(max(fraction_bits, FRACTION_BITS[0]))


def finite(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values with 0 in place of infinities, which saturate in every format; see `LARGEST`."""
    return np.where(np.abs(values.astype(np.float64)) < _largest(values.dtype), values, 0)


@cached_by_array
def _extremes(values: NDArray[Any]) -> tuple[float, float] | None:
    """Return the smallest and the largest of the `finite` values and 0; None where one is NaN."""
    if np.isnan(values).any():
        return None
    real = finite(values)
    return float(real.min(initial=0)), float(real.max(initial=0))


def _largest(dtype: np.dtype[Any]) -> float:
    return min(LARGEST, float(np.finfo(dtype).max))
