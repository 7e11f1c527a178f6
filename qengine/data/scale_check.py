"""Warnings about pictures that are fed on another scale than the network was trained on, such as a forgotten --scale.

Pixels of 0..255 in a network that was trained on [0, 1] give no error, only nonsense. Magnitudes alone do not tell: a
network may normalise its input itself, or have been trained on 0..255. So the network is asked. Where an input looks
like unscaled pixels, it is run in float32 on the pixels and on a 255th of them. A network that expects the latter has
scores of hundreds on the former and ordinary ones on the latter, activations at their bounds, or pictures that do not
resemble its input; one that expects pixels has the opposite, or does not care. Only a clear answer is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.applied import Applied, Base, base_of
from qengine.data.channels import CHANNELS, LAYOUTS, channel_axis
from qengine.data.datasets import Dataset
from qengine.errors import QEngineError
from qengine.model.graph import Graph, Node
from qengine.qformat import QFormat
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

Array = NDArray[Any]

_WHITE = 255.0
_LARGE = 32.0  # normalised pictures are within some units of 0
_TINY = 1 / 128  # pixels that were divided by 255 twice
_FEW_ELEMENTS = 49  # of a row of pixels: 7 x 7
_WILD, _TAME, _RATIO = 60.0, 2.5, 15.0  # differences of scores: beyond reason, of some certainty, of both
_WILDEST = 150.0  # difference of scores that makes less certainty enough
_FAR, _NEAR = 12.0, 6.0  # deviations of training that numbers are away
_BOUNDED = 4  # bounded activations that are looked at
_AT_BOUND, _FEWER = 0.15, 0.25  # share of the first at its bounds; the same of a 255th, compared with it
_AT_BOUND_LATER, _MORE_LATER = 0.25, 1.3  # share of the later ones; the same, compared with that of a 255th
_LIKE, _UNLIKE = 0.5, 1.5  # distance of a picture from the input, over the input's deviation; ratio of two of them
_BEYOND = 8.0  # times the largest number of a format
_END = ("Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "Identity", "Squeeze", "Flatten", "Reshape")


def scale_notes(
    session: InferenceSession,
    feeds: Mapping[str, Any],
    pixels: Applied,
    base: Base,
    *,
    has_formats: bool = False,
) -> tuple[str, ...]:
    """Return warnings about inputs whose scale is plainly not that of the network, one line each.

    Parameters
    ----------
    session
        The model, in any arithmetic.
    feeds
        Inputs of one run.
    pixels
        Conversion of the pixels among them.
    base
        Preprocessing that is recorded or bundled.
    has_formats
        Whether formats were given by tensor, as a formats file has them; those of a quantized model are known.
    """
    found = []
    for value in session.graph.inputs:
        array = feeds.get(value.name)
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.size and np.isfinite(array).all():
            own = session.graph.formats is not None
            source = "the formats file" if has_formats else "the model" if own else None
            note = _note(_Fed(session, feeds, value.name, array, pixels, base), source)
            found += [] if note is None else [note]
    return tuple(found)


def notes_on_runs(graph: Graph, runs: Iterable[Any], options: SessionOptions) -> tuple[tuple[str, ...], Iterable[Any]]:
    """Return the warnings about the first run on data, and the runs, of which an iterator has lost none.

    Parameters
    ----------
    graph
        The model.
    runs
        Feeds of the runs, or a `Dataset`, which says what was made of pixels.
    options
        Options of a session that runs the model in float32.
    """
    pixels = Applied()
    if isinstance(runs, Dataset):
        first: Any = next((one.feeds for one in runs.batches()), None)
        pixels = Applied(runs.preprocessing, tuple(runs.pixels))
    elif isinstance(runs, list):
        first = next(iter(runs), None)
    else:
        rest = iter(runs)
        begin = list(islice(rest, 1))
        first, runs = next(iter(begin), None), chain(begin, rest)
    if not isinstance(first, Mapping):
        return (), runs
    with np.errstate(all="ignore"):
        session = InferenceSession(graph, options.in_float32())
        return scale_notes(session, first, pixels, base_of(None, graph)), runs


@dataclass(frozen=True)
class _Fed:
    """An input and its numbers.

    Attributes
    ----------
    session, feeds, pixels, base : see `scale_notes`.
    name, array : name of the input, and its numbers.
    """

    session: InferenceSession
    feeds: Mapping[str, Any]
    name: str
    array: Array
    pixels: Applied
    base: Base

    @property
    def is_read(self) -> bool:
        """Whether the numbers were made of pixels, and not given."""
        return self.name in self.pixels.inputs

    @property
    def looks_like_pictures(self) -> bool:
        """Whether the numbers can be pictures by their shape: with 1 or 3 channels, or long rows."""
        if self.is_read:
            return True
        if self.array.ndim in (3, 4):
            layout = self.pixels.preprocessing.layout or self.base.preprocessing.layout or LAYOUTS[0]
            axes = {self.array.shape[channel_axis(self.array.shape, layout)], self.array.shape[-1]}
            return bool(axes & set(CHANNELS))
        return self.array.ndim == 2 and self.array.shape[1] >= _FEW_ELEMENTS and self.holds_pixels

    @property
    def holds_pixels(self) -> bool:
        """Whether all numbers are whole and within 0..255."""
        array = self.array
        return bool(array.min() >= 0 and array.max() <= _WHITE and (array == np.rint(array)).all())

    @property
    def remedy(self) -> str:
        """Words that say how to divide by 255."""
        if self.is_read:
            return "try --scale 1/255, or --mean and --std as in training"
        return "divide the arrays by 255, or store them as uint8 and give --scale 1/255"


def _note(fed: _Fed, formats: str | None) -> str | None:
    """Return the warning about one input; None for none."""
    if not fed.looks_like_pictures:
        return _saturating(fed, formats)
    return _divided_twice(fed) or _unlike_record(fed) or _saturating(fed, formats) or _implausible(fed)


def _divided_twice(fed: _Fed) -> str | None:
    """Return the warning about pixels that are 0 and 1, and divided by 255 again."""
    applied = fed.pixels.preprocessing
    most = float(np.abs(fed.array).max())
    if fed.is_read:
        if max(map(abs, applied.scale)) > _TINY * 4 or len(np.unique(fed.array)) > 2 * max(len(applied.mean), 1):
            return None
        tallest = np.max(fed.array / np.max(np.abs(applied.scale)) + np.min(applied.mean))
        if not 0.5 < tallest <= 1.5:
            return None
        return (
            f"the pixels of '{fed.name}' are 0 and 1, and divided by {1 / max(map(abs, applied.scale)):.6g}: try "
            "--scale 1, or give pixels of 0..255"
        )
    if 0 < most <= _TINY and fed.array.min() >= 0:
        return f"the values of '{fed.name}' reach {most:.2g}: were pixels divided by 255 twice?"
    return None


def _unlike_record(fed: _Fed) -> str | None:
    """Return the warning about numbers of 0..255 where pixels have a scale."""
    known = fed.base.preprocessing
    ends = [abs((pixel - mean) * scale) for pixel in (0, _WHITE) for mean in known.mean for scale in known.scale]
    if fed.is_read or not fed.base.origin or max(ends) > _LARGE / 2 or fed.array.max() <= _LARGE:
        return None
    if not fed.holds_pixels:
        return None
    return (
        f"the values of '{fed.name}' are pixels of 0..255, and {fed.base.origin} takes {known.described()}, which is "
        "not applied to real numbers: give images or uint8 arrays"
    )


def _saturating(fed: _Fed, formats: str | None) -> str | None:
    """Return the warning about numbers far beyond the format that was chosen for this input before."""
    fmt = fed.session.formats.get(fed.name)
    if formats is None or not isinstance(fmt, QFormat):
        return None
    word, one = fmt.word(), 2.0**fmt.fraction_bits
    least, most = word.least / one, word.most / one
    beyond = (fed.array > most) | (fed.array < least)
    largest = float(np.abs(fed.array).max())
    if largest < _BEYOND * max(most, -least) or beyond.sum() * 2 < np.count_nonzero(fed.array):
        return None
    what = f"{beyond.mean():.0%} of input '{fed.name}' are beyond {fmt}, which {formats} has for it"
    if not fed.looks_like_pictures:
        return f"{what}: its formats come from other numbers, so scale the input as for them"
    return f"{what}: its formats come from pictures on another scale; {fed.remedy}"


def _implausible(fed: _Fed) -> str | None:
    """Return the warning about pixels for which the network is implausible, and not for a 255th of them."""
    if np.abs(fed.array).max() <= _LARGE or (not fed.is_read and fed.array.max() > 2 * _WHITE):
        return None
    with suppress(QEngineError), np.errstate(all="ignore"):
        for evidence in _evidence(fed):
            low, high = float(fed.array.min()), float(fed.array.max())
            return (
                f"'{fed.name}' holds {low:.4g} to {high:.4g}, {evidence}: the network seems to be trained on other "
                f"numbers; {fed.remedy}"
            )
    return None


def _evidence(fed: _Fed) -> Iterator[str]:
    """Yield what speaks against the numbers, in words."""
    graph = fed.session.graph
    outputs, scores, bounded = [value.name for value in graph.outputs], _scores(graph), _bounded(graph)
    normalized = _normalized(graph)
    names = list(dict.fromkeys([*scores.values(), *outputs, *bounded, *([normalized[0]] if normalized else [])]))
    session = fed.session.in_float32()
    own = dict(zip(names, session.run(names, fed.feeds), strict=True))
    smaller = {**fed.feeds, fed.name: fed.array / fed.array.dtype.type(_WHITE)}
    other = dict(zip(names, session.run(names, smaller), strict=True))
    if normalized is not None:
        name, *statistics = normalized
        yield from _of_statistics(own[name], other[name], *statistics)
    for output, name in scores.items():
        yield from _of_scores(own[name], other[name], is_alone=name != output)
    yield from _of_bounds([(own[name], other[name], *ends) for name, ends in bounded.items()])
    for name in outputs:
        yield from _of_pictures(own[name], other[name], fed.array)


def _scores(graph: Graph) -> dict[str, str]:
    """Return the tensor of scores before the last functions, such as a Softmax, by the name of the output."""
    producers = {name: node for node in graph.nodes for name in node.outputs}
    found = {}
    for value in graph.outputs:
        name = value.name
        while (node := producers.get(name)) is not None and node.operator in _END:
            if not node.inputs or node.inputs[0] in graph.constants:
                break
            name = node.inputs[0]
        found[value.name] = name
    return found


def _normalized(graph: Graph) -> tuple[str, Array, Array] | None:
    """Return the input of the first BatchNormalization, and the mean and variance that it had in training."""
    for node in graph.nodes:
        if node.operator == "BatchNormalization" and all(name in graph.constants for name in node.inputs[3:5]):
            return node.inputs[0], graph.constants[node.inputs[3]], graph.constants[node.inputs[4]]
    return None


def _bounded(graph: Graph) -> dict[str, tuple[float, float]]:
    """Return the first bounded activations inside of the network, and their bounds."""
    last, found = {value.name for value in graph.outputs}, dict[str, tuple[float, float]]()
    for node in graph.nodes:
        if node.operator not in ("Clip", "Tanh") or node.outputs[0] in last or node.inputs[0] in graph.constants:
            continue
        ends = (-1.0, 1.0) if node.operator == "Tanh" else _ends_of_clip(graph, node)
        if ends is not None and len(found) < _BOUNDED:
            found[node.outputs[0]] = ends
    return found


def _ends_of_clip(graph: Graph, node: Node) -> tuple[float, float] | None:
    """Return the bounds of a Clip that cuts at the top, such as a Relu6; None for another."""
    if len(node.inputs) < 3 or node.inputs[2] not in graph.constants:
        return None
    most = float(graph.constants[node.inputs[2]].reshape(-1)[0])
    return (-np.inf, most) if 0 < most < _LARGE else None


def _of_scores(own: Array, other: Array, *, is_alone: bool) -> Iterator[str]:
    """Yield what scores say: hundreds, and ordinary ones for a 255th of the pixels.

    A single score for each sample or pixel is one only before a last function, such as a Sigmoid.
    """
    if own.ndim not in (2, 4) or own.dtype.kind != "f" or not own.size or own.shape != other.shape:
        return
    if own.shape[1] == 1 and is_alone:
        ours, theirs = (float(np.median(np.abs(a))) for a in (own, other))
    elif own.shape[1] == 1 or (own.ndim == 4 and own.shape[1] in CHANNELS):
        return
    else:
        ours, theirs = (float(np.median(a.max(axis=1) - a.min(axis=1))) for a in (own, other))
    least = _TAME if ours < _WILDEST else _TAME / 2.5
    if ours > _WILD and theirs > (least if own.shape[1] > 1 else _TAME / 4) and ours > _RATIO * theirs:
        yield f"and its scores differ by {ours:.4g}, and by {theirs:.3g} for a 255th of it"


def _of_statistics(own: Array, other: Array, mean: Array, variance: Array) -> Iterator[str]:
    """Yield what a BatchNormalization says: numbers far from those of training, and near them for a 255th of pixels."""
    axes = tuple(axis for axis in range(own.ndim) if axis != 1)
    if own.ndim < 2 or own.shape[1] != mean.size or own.size == own.shape[1]:
        return
    spread = np.sqrt(np.maximum(variance.astype(np.float64), 1e-12))
    distances = []
    for array in (own.astype(np.float64), other.astype(np.float64)):
        shift = np.abs(array.mean(axis=axes) - mean) / spread
        distances.append(float(np.median(np.maximum(shift, array.std(axis=axes) / spread))))
    ours, theirs = distances
    if ours > _FAR and theirs < _NEAR:
        yield (
            f"which is {ours:.3g} deviations from the training of its BatchNormalization, and {theirs:.2g} for a 255th "
            "of it"
        )


def _of_bounds(activations: Sequence[tuple[Array, Array, float, float]]) -> Iterator[str]:
    """Yield what bounded activations say: that they are at their bounds, and much less for a 255th of the pixels.

    The first one alone does not tell: some networks are trained on pixels, and with a first layer at its bounds.
    """
    if len(activations) < 2:
        return
    shares = [[_share_at_bounds(array, low, high) for array in arrays] for *arrays, low, high in activations]
    (first, first_other), later = shares[0], shares[1:]
    ours, theirs = (sum(share[i] for share in later) / len(later) for i in (0, 1))
    if first > _AT_BOUND and first_other < _FEWER * first and ours > _AT_BOUND_LATER and ours > _MORE_LATER * theirs:
        yield f"with which {ours:.0%} of bounded activations are at their bounds, and {theirs:.0%} for a 255th of it"


def _share_at_bounds(array: Array, low: float, high: float) -> float:
    """Return the share of elements at the upper bound or at both; of a Relu6 among those above 0."""
    room = 1e-3 * high
    active = array if np.isfinite(low) else array[array > 0]
    if not active.size:
        return 0.0
    return float(((active >= high - room) | (active <= low + room)).mean())


def _of_pictures(own: Array, other: Array, fed: Array) -> Iterator[str]:
    """Yield what pictures say that resemble the input, such as those of an autoencoder: their distance from it."""
    if own.ndim != 4 or fed.ndim != 4 or not own.size or own.shape[:2] != fed.shape[:2] or own.shape[1] not in CHANNELS:
        return
    if any(n % m for n, m in zip(own.shape[2:], fed.shape[2:], strict=True)):
        return
    ours, theirs = _distance(own, fed), _distance(other, fed / np.float32(_WHITE))
    if theirs < _LIKE and ours > _UNLIKE * theirs and ours > 0.1:
        yield f"and its picture differs from it by {ours:.0%} of the contrast, and by {theirs:.0%} for a 255th of it"


def _distance(picture: Array, fed: Array) -> float:
    """Return the distance of a picture, shrunk to the size of the input, from the input, over the input's deviation."""
    rows, columns = picture.shape[2] // fed.shape[2], picture.shape[3] // fed.shape[3]
    shape = (*fed.shape[:2], fed.shape[2], rows, fed.shape[3], columns)
    shrunk = picture.astype(np.float64).reshape(shape).mean(axis=(3, 5))
    deviation = float(np.std(fed)) or 1.0
    return float(np.sqrt(np.mean((shrunk - fed) ** 2))) / deviation
