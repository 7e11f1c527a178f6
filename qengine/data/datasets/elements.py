"""Elements of an iterable of data: what a data loader yields, as the feeds of one run with labels and targets.

An element is a mapping by the names of inputs, a pair of inputs and a label, or the input alone. Its arrays have an
axis of samples, as those of a data loader have, or none, as those of a data set: the rank of the input tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qengine.data.datasets.arrays import as_array, encoded_image, is_array
from qengine.data.datasets.cells import as_declared
from qengine.data.datasets.columns import ALIASES, LABELS, TARGETS
from qengine.data.datasets.labels import whole_numbers
from qengine.data.datasets.layout import SampleLayout, are_pixels, layout_of
from qengine.data.datasets.wanted import Wanted
from qengine.data.read import picture_for
from qengine.errors import FeedError
from qengine.model.graph import Value


@dataclass(frozen=True)
class Element:
    """Feeds of one run.

    Attributes
    ----------
    feeds : values by input name.
    targets : true outputs by output name.
    labels : true class of each sample; None without any.
    count : number of samples.
    is_run : whether the feeds are a mapping that a run takes, and not known to be samples one after the other.
    has_pixels : whether pixels were converted to numbers.
    """

    feeds: Mapping[str, Any]
    targets: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None
    count: int = 1
    is_run: bool = False
    has_pixels: bool = False


def elements_of(data: Iterable[Any], wanted: Wanted) -> Iterator[Element]:
    """Yield the elements of an iterable, one after the other, each when it is asked for.

    Raises
    ------
    FeedError
        If an element does not fit the model.
    """
    for i, one in enumerate(data):
        yield element_of(one, wanted, f"data[{i}]")


def element_of(given: Any, wanted: Wanted, label: str) -> Element:
    """Return an element; see the head of the file.

    Raises
    ------
    FeedError
        If it does not fit the model.
    """
    if isinstance(given, Mapping):
        return _of_mapping(given, wanted, label)
    if isinstance(given, list | tuple) and not is_array(given):
        return _of_parts(given, wanted, label)
    inputs = wanted.inputs
    if len(inputs) != 1:
        names = ", ".join(f"'{value.name}'" for value in inputs) or "none"
        raise FeedError(f"{label} is one array, and the model needs {names}: give a mapping by the names of inputs")
    return _element({inputs[0].name: given}, None, {}, wanted, label)


def _of_mapping(given: Mapping[Any, Any], wanted: Wanted, label: str) -> Element:
    declared = {value.name: value for value in (*wanted.graph.inputs, *wanted.graph.overridable)}
    outputs = [value.name for value in wanted.graph.outputs]
    feeds = {name: given[name] for name in given if name in declared}
    missing = [value for value in wanted.inputs if value.name not in feeds]
    others = [key for key in given if key not in feeds]
    labels = next((key for key in others if key in LABELS and key not in outputs), None)
    targets = {key: key for key in others if key in outputs}
    if outputs and not targets:
        targets = dict(zip(outputs[:1], [key for key in others if key in TARGETS], strict=False))
    left = [key for key in others if key != labels and key not in targets.values()]
    usual = [key for key in left if key in ALIASES]
    usual = usual or ([left[0]] if len(left) == 1 and is_array(given[left[0]]) and labels is not None else [])
    if len(missing) == 1 and len(usual) == 1:
        feeds[missing[0].name] = given[usual[0]]
        missing, left = [], [key for key in left if key != usual[0]]
    if missing and left:
        listed = ", ".join(f"'{key}'" for key in given) or "nothing"
        raise FeedError(f"{label} has no array for input '{missing[0].name}'; it holds {listed}")
    feeds |= {key: given[key] for key in left}  # which the session refuses
    found = {name: given[key] for name, key in targets.items()}
    return _element(feeds, None if labels is None else given[labels], found, wanted, label, is_mapping=True)


def _of_parts(given: Sequence[Any], wanted: Wanted, label: str) -> Element:
    """Return an element of a pair: inputs in the order of the model, and after them a label or a true output."""
    inputs, outputs = wanted.inputs, wanted.graph.outputs
    if given and isinstance(given[0], Mapping):
        first = _of_mapping(given[0], wanted, label)
        rest = given[1:]
        feeds: dict[str, Any] = dict(first.feeds)
    else:
        feeds = {value.name: one for value, one in zip(inputs, given, strict=False)}
        rest = given[len(inputs) :]
        if len(given) < len(inputs):
            raise FeedError(f"{label} has {len(given)} parts, and the model needs {len(inputs)} inputs")
    if len(rest) > 1:
        raise FeedError(f"{label} has {len(given)} parts: the model has {len(inputs)} inputs, and a label may follow")
    if not rest:
        return _element(feeds, None, {}, wanted, label)
    last = rest[0]
    if isinstance(last, str):
        raise FeedError(f"{label} has the label '{last}': labels are numbers of classes here")
    if not isinstance(last, Image.Image):
        array = as_array(last, f"the label of {label}")
        if array.dtype.kind in "iub" and (array.ndim == 0 or array.ndim == 1 or array.shape[1:] == (1,)):
            return _element(feeds, array, {}, wanted, label)
    if not outputs:
        raise FeedError(f"{label} has a true output, and the model has none")
    return _element(feeds, None, {outputs[0].name: last}, wanted, label)


def _element(
    feeds: Mapping[str, Any],
    labels: Any,
    targets: Mapping[str, Any],
    wanted: Wanted,
    label: str,
    *,
    is_mapping: bool = False,
) -> Element:
    declared = {value.name: value for value in (*wanted.graph.inputs, *wanted.graph.overridable)}
    outputs = {value.name: value for value in wanted.graph.outputs}
    found, batched, has_pixels = {}, True, False
    for name, value in feeds.items():
        own = declared.get(name) or Value(name)
        array, is_batch, is_pixels = _fed(value, own, wanted, f"{label}['{name}']" if is_mapping else label)
        found[name] = array
        has_pixels = has_pixels or is_pixels
        batched = batched and (is_batch or name in wanted.single)
    of_targets = wanted.of_targets(label) if targets else wanted
    true = {n: _fed(value, outputs[n], of_targets, f"the true output of {label}")[0] for n, value in targets.items()}
    numbers = None
    if labels is not None:
        numbers = whole_numbers(np.atleast_1d(as_array(labels, f"the labels of {label}")), f"the labels of {label}")
    stacked = [array for name, array in found.items() if name not in wanted.single and isinstance(array, np.ndarray)]
    counts = {len(array) for array in stacked if array.ndim}
    count = counts.pop() if len(counts) == 1 else 1
    if numbers is not None and len(numbers) != count:
        raise FeedError(f"{label} has {count} samples and {len(numbers)} labels: one for each is needed")
    is_run = is_mapping and batched and numbers is None and not true
    return Element(found, true, numbers, 1 if is_run else count, is_run, has_pixels)


def _fed(value: Any, declared: Value, wanted: Wanted, label: str) -> tuple[Any, bool, bool]:
    """Return what an input is fed, whether it came with an axis of samples, and whether it was pixels."""
    if isinstance(value, Image.Image):
        picture = picture_for(encoded_image(value, label), declared, wanted.preprocessing, wanted.max_elements)
        shape = declared.shape
        return picture[None] if shape is not None and picture.ndim == len(shape) - 1 else picture, False, True
    if declared.container is not None or (isinstance(value, list | tuple) and not is_array(value)):
        return value, True, False  # a sequence or an optional, which the session checks
    if declared.dtype is not None and declared.dtype.kind not in "biuf":
        return value, True, False
    own = isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__")
    array = as_array(value, label)
    if not own:  # numbers of Python have no type of their own
        array = as_declared(array, declared, label)
    shape = declared.shape
    if shape is None or (array.ndim == len(shape) and not are_pixels(array.dtype, declared)):
        return array, True, False
    rank = len(shape)
    if array.ndim not in (rank, rank - 1) and not (array.ndim == rank - 2 == 2):
        raise FeedError(
            f"{label} has {array.ndim} axes; a sample of input '{declared.name}' has {max(rank - 1, 0)}, and several "
            f"have {rank}"
        )
    is_batch = array.ndim == len(shape)
    row = array if is_batch or not shape or declared.name in wanted.single else array[None]
    is_single = declared.name in wanted.single
    layout = layout_of(label, row.shape, row.dtype, declared, is_single=is_single, layout=wanted.preprocessing.layout)
    if layout is SampleLayout.RUNS:
        raise FeedError(f"{label} has {array.ndim} axes, and input '{declared.name}' {len(shape)}: give one run each")
    return layout.feed(row, declared, wanted.preprocessing), is_batch, are_pixels(row.dtype, declared)
