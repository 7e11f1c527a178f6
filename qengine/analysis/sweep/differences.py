"""Differences of targets: how many codes each two of them compute otherwise, of the same model in the same formats.

Points of a sweep have formats within the constraints of their own targets. Codes can only be compared in formats that
are the same, so the targets run once more here, on formats that are chosen without constraints for each pair of word
lengths. Every tensor that a run rounds is compared, on the first samples of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.sweep.points import Point
from qengine.data.datasets.runs import Runs
from qengine.errors import QEngineError
from qengine.model.formats.files import FormatsByName
from qengine.progress import Progress
from qengine.quantization.calibration import Method
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

SAMPLES = 100
"""Number of samples on which codes are compared."""

_UNFUSED = '{"rules": {"fuses_functions": false}}'
"""Rules under which every tensor has a format, as a `Point` has them."""

Key = tuple[int | None, int | None, str | None, str | None]


@dataclass(frozen=True)
class Difference:
    """Number of codes that two targets compute otherwise.

    Attributes
    ----------
    first, second : names of the targets.
    formats : formats of both: word lengths of weights and activations as "8/8", or one format, or a file.
    outputs, outputs_differ : codes of the outputs, and how many of them differ.
    tensors, tensors_differ : codes of all tensors that a run rounds, and how many of them differ.
    first_tensor : first tensor with a code that differs, in the order of the run; None where all are equal.
    samples : number of samples that were compared.
    """

    first: str
    second: str
    formats: str
    outputs: int
    outputs_differ: int
    tensors: int
    tensors_differ: int
    first_tensor: str | None
    samples: int

    def record(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


FormatsOf = Callable[[Point], FormatsByName | None]
"""Function that returns the formats of a point; None where it has one for all activations."""


def differences(
    session: InferenceSession, points: Sequence[Point], runs: Runs, formats_of: FormatsOf, progress: Progress
) -> tuple[Difference, ...]:
    """Return the differences of each two targets of points with the same word lengths.

    Parameters
    ----------
    session
        Session of the model in float32, with the limits of all sessions.
    points
        Points of the sweep.
    runs
        Runs over the data.
    formats_of
        Function that returns the formats of a point without a target.
    progress
        Function that is called with the progress.
    """
    groups: dict[Key, dict[str, Point]] = {}
    for point in points:
        if point.target is not None:
            key = (point.weight_bits, point.activation_bits, point.qformat, point.formats)
            groups.setdefault(key, {}).setdefault(point.target, point)
    compared = [list(group.values()) for group in groups.values() if len(group) > 1]
    found: list[Difference] = []
    with progress("comparing targets|comparisons", sum(map(len, compared))) as advance:
        for group in compared:
            common = _without_target(group)
            with suppress(QEngineError):  # no format holds a tensor: the rows of the points say so
                found += _compared(session, group, common, formats_of(common), runs)
            advance(len(group))
    return tuple(found)


def _without_target(points: Sequence[Point]) -> Point:
    """Return the point whose formats are those of all points, as far as each can have them."""
    wraps = any(point.method == Method.MAX for point in points)
    return replace(
        points[0],
        target=None,
        target_rules=None if all(point.fuses for point in points) else _UNFUSED,
        recipe=None,
        method=str(Method.MAX) if wraps and points[0].is_calibrated else points[0].method,
        per_channel=all(point.per_channel for point in points),
        unsigned=all(point.unsigned for point in points),
    )


def _compared(
    session: InferenceSession, points: Sequence[Point], common: Point, formats: FormatsByName | None, runs: Runs
) -> Iterator[Difference]:
    own: dict[str, Any] = {"qformat": common.qformat} if formats is None else {"formats": formats}
    own["per_channel"] = common.per_channel and formats is None
    sessions = {str(point.target): session.with_options(_options(session, point, own)) for point in points}
    for name in [name for name, one in sessions.items() if not _is_runnable(one, runs.first.feeds)]:
        del sessions[name]
    if len(sessions) < 2:
        return
    first = next(iter(sessions.values()))
    outputs = [value.name for value in session.get_outputs()]
    names = [*first.rounded, *(name for name in outputs if name not in first.rounded)]
    names = [name for name in _in_order(first, names) if all(name in one.formats for one in sessions.values())]
    count: dict[tuple[str, str, str], int] = {}
    sizes, samples = dict.fromkeys(names, 0), 0
    for batch in runs:
        codes = {name: _codes(one, names, batch.feeds) for name, one in sessions.items()}
        for name in names:
            sizes[name] += next(iter(codes.values()))[name].size
            for a, b in combinations(sessions, 2):
                differ = int(np.count_nonzero(codes[a][name] != codes[b][name]))
                count[a, b, name] = count.get((a, b, name), 0) + differ
        samples += batch.count
        if samples >= SAMPLES:
            break
    named = [name for name in outputs if name in sizes]
    for a, b in combinations(sessions, 2):
        yield Difference(
            a,
            b,
            common.qformat or common.formats_name or f"{common.weight_bits}/{common.activation_bits}",
            sum(sizes[name] for name in named),
            sum(count[a, b, name] for name in named),
            sum(sizes.values()),
            sum(count[a, b, name] for name in names),
            next((name for name in names if count[a, b, name]), None),
            samples,
        )


def _options(session: InferenceSession, point: Point, own: Mapping[str, Any]) -> SessionOptions:
    return replace(session.options, **point.arithmetic(), **own)


def _is_runnable(session: InferenceSession, feeds: Mapping[str, Any]) -> bool:
    """Whether a session runs; the row of a target that does not says why, unless it runs in formats of its own."""
    try:
        session.run(None, feeds)
    except QEngineError:
        return False
    return True


def _codes(session: InferenceSession, names: Sequence[str], feeds: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return dict(zip(names, session.run(names, feeds, raw=True), strict=True))


def _in_order(session: InferenceSession, names: Sequence[str]) -> list[str]:
    """Return names in the order in which a run computes them, the inputs first."""
    order = [value.name for value in session.graph.inputs]
    order += [name for node in session.graph.nodes for name in node.outputs]
    place = {name: i for i, name in enumerate(order)}
    return sorted((name for name in names if name in place), key=place.__getitem__)
