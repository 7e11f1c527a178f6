"""The formats of constants: of the run's word length, as fine as the constant and the bias beside it allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Role, find
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
)

LARGEST = float(np.finfo(np.float32).max)
"""From here on, in magnitude, numbers count as infinite: masks spell minus infinity as the least float32."""


@dataclass(frozen=True)
class Readers:
    """Who reads the elements of a constant in a run.

    Attributes
    ----------
    names : of the constant, in the graph that the nodes are of.
    places : the nodes and the roles in which they read it.
    """

    names: set[str]
    places: list[tuple[Node, Role]]

    def channel_axis(self, value: NDArray[Any]) -> int | None:
        """Return the axis of the constant that counts output channels, if every reader agrees on one."""
        found = set()
        for node, role in self.places:
            axis = find(node).channel_axis(node, value.ndim) if role is Role.WEIGHTS else None
            found.add(None if axis is None or not value.size else axis % value.ndim)
        return found.pop() if len(found) == 1 else None

    def room_for_bias(
        self, activations: Mapping[str, QFormat], constants: Mapping[str, NDArray[Any]], channels: int
    ) -> list[int | None]:
        """Return for each channel of weights the largest n at which no constant bias beside them saturates.

        A bias is held in 32 bits, with as many fraction bits as the input and the weights have together.

        Parameters
        ----------
        activations
            The formats of what a run computes.
        constants
            Of the graph that the nodes are of.
        channels
            How many there are; 1 for weights with one format.
        """
        most: list[int | None] = [None] * channels
        for node, role in self.places:
            roles = find(node).roles(node) if role is Role.WEIGHTS else []
            bias = next((constants[n] for n, r in roles if r is Role.BIAS and n in constants), None)
            x = activations.get(node.inputs[0])
            if bias is None or x is None or bias.dtype.kind != "f":
                continue
            for c, added in enumerate(_by_channel(finite(bias), channels)):
                if added.any():
                    room = largest_scale(float(added.min()), float(added.max()), 32) - x.fraction_bits
                    before = most[c]
                    most[c] = room if before is None else min(before, room)
        return most


def readers_of(graph: Graph, known: frozenset[str]) -> dict[str, Readers]:
    """Return the readers of every constant by the model's own name, leaving out nodes that no run computes."""
    found: dict[str, Readers] = {}
    for node in graph.nodes:
        if all(name in known for name in node.outputs if name):
            continue
        for name, role in find(node).roles(node):
            if role in (Role.DATA, Role.WEIGHTS):
                readers = found.setdefault(graph.derived.get(name, name), Readers(set(), []))
                readers.names.add(name)
                readers.places.append((node, role))
    return found


@dataclass(frozen=True)
class ConstantFormats:
    """Everything that the format of a constant depends on.

    Attributes
    ----------
    qformat, weight_qformat, per_channel : what was asked for, see `FormatRequest`.
    given : formats by the model's names; a tuple has one for each channel.
    own : those that a quantized model itself gives; None unless constants may stay real numbers.
    activations : the formats of what a run computes.
    readers : of constants, by the model's names.
    constants : of the graphs that the readers are nodes of.
    """

    qformat: QFormat | None
    weight_qformat: QFormat | None
    per_channel: bool
    given: Mapping[str, QFormat | tuple[QFormat, ...]]
    own: Mapping[str, Format] | None
    activations: Mapping[str, QFormat]
    readers: Mapping[str, Readers]
    constants: Mapping[str, NDArray[Any]]

    def choose(self, name: str, values: list[NDArray[Any]]) -> Format | None:
        """Return the format of a constant of the model.

        It is the given one, or of the run's word length the one with the largest n at which neither the constant
        saturates nor a constant bias that is added to what it is multiplied with. In a model that is quantized already
        it is the model's, or any that holds the values exactly; None where there is none.

        Parameters
        ----------
        name
            The model's own.
        values
            What the passes made of the constant, each read by some operator.
        """
        if name in self.activations:
            return self.activations[name]
        axis = self.readers[name].channel_axis(values[0]) if name in self.readers else None
        asked = self.given.get(name)
        if isinstance(asked, QFormat):
            return asked
        if asked is not None:
            if axis is None:
                raise FormatError(
                    f"formats give '{name}' {len(asked)} formats; it has no channels that each could have one"
                )
            if len(asked) != values[0].shape[axis]:
                raise FormatError(f"formats give '{name}' {len(asked)} formats for {values[0].shape[axis]} channels")
            return channel_formats(asked, axis)
        if self.weight_qformat:
            return self.weight_qformat
        if any(np.isnan(value).any() for value in values):
            raise FormatError(f"constant '{name}' holds NaN: fixed point has no code for it")
        if self.own is not None:
            return _exact(self.own.get(name), axis, values)
        try:
            return self._finest(name, values, axis if self.per_channel else None)
        except FormatError as error:
            raise FormatError(f"constant '{name}': {error}") from None

    def _finest(self, name: str, values: list[NDArray[Any]], axis: int | None) -> Format:
        bits = self._word_length(name)
        channels = 1 if axis is None else values[0].shape[axis]
        readers = self.readers.get(name, Readers(set(), []))
        most = readers.room_for_bias(self.activations, self.constants, channels)
        if axis is None:
            form = finest_format(finite(np.concatenate([value.ravel() for value in values])), bits)
            return _with_at_most(form, most[0])
        rows = [np.moveaxis(value, axis, 0).reshape(channels, -1) for value in values]
        formats = finest_per_channel(finite(np.concatenate(rows, axis=1)), bits, 0).formats
        return ChannelFormats(tuple(map(_with_at_most, formats, most)), axis)

    def _word_length(self, name: str) -> int:
        """Return the word length of the run or, where tensors have their own, the longest beside the constant."""
        if self.qformat:
            return self.qformat.bits
        beside = {n for node, _ in self._places(name) for n in (*node.inputs, *node.outputs)}
        return max((self.activations[n].bits for n in beside if n in self.activations), default=16)

    def _places(self, name: str) -> list[tuple[Node, Role]]:
        return self.readers[name].places if name in self.readers else []


def _by_channel(bias: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return the elements of a bias that are added to each channel: (channels, any number).

    The last axis of a bias counts channels, those of each group one after the other, or broadcasts over them.
    """
    if bias.ndim and bias.size and bias.shape[-1] % channels == 0:
        return bias.reshape(-1, channels).T
    return np.broadcast_to(bias.ravel(), (channels, bias.size))


def _exact(own: Format | None, axis: int | None, values: list[NDArray[Any]]) -> Format | None:
    """Return a format that holds the values as they are: the model's own or, where passes changed them, any."""
    fits = isinstance(own, QFormat) or (own is not None and own.axis == axis)
    if own is not None and fits and all(holds(own, value) for value in values):
        return own
    return exact_format(np.concatenate([value.ravel() for value in values]))


def _with_at_most(form: QFormat, fraction_bits: int | None) -> QFormat:
    """Return a format, with fewer fraction bits where it has more than those."""
    if fraction_bits is None or form.fraction_bits <= fraction_bits:
        return form
    return form.with_fraction_bits(max(fraction_bits, FRACTION_BITS[0]))


def finite(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values with 0 for infinities, which saturate in every format; see `LARGEST`."""
    largest = min(LARGEST, float(np.finfo(values.dtype).max))
    return np.where(np.abs(values.astype(np.float64)) < largest, values, 0)
