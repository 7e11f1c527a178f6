"""Facts on the data: the range of every input, and the samples that fixed point changes most."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qengine.data.datasets import Batch
from qengine.data.images import pixels_of
from qengine.data.preprocessing import Preprocessing
from qengine.errors import QEngineError, UnsupportedError
from qengine.html_report.facts import DataFacts, InputFacts, PictureFacts, SampleFacts, WorstFacts
from qengine.html_report.gather.model import shape_text
from qengine.html_report.gather.subject import Subject
from qengine.metrics.decibels import Energy
from qengine.metrics.tasks import Task, classes_of, task_of

KEPT = 12
"""Samples that a report shows."""

_LARGEST_NORMALIZED = 8.0
_LONGEST_SIDE = 112  # pixels of a picture
_PRODUCTS, _QUICK_PRODUCTS, _MAX_RUNS = 4e12, 4e11, 4000

Arrays = Mapping[str, NDArray[Any]]


@dataclass
class Reading:
    """What is found while the samples are run once more in both arithmetics.

    Attributes
    ----------
    ranges : shape, type, least and greatest number of every input.
    candidates : the worst samples so far, with their pictures, each with its key of order.
    looked_at : number of samples that were run.
    flips, mended, broken : see `WorstFacts`; None without classes or labels.
    """

    ranges: dict[str, InputFacts] = field(default_factory=dict)
    candidates: list[tuple[tuple[Any, ...], SampleFacts]] = field(default_factory=list)
    looked_at: int = 0
    flips: int | None = None
    mended: int | None = None
    broken: int | None = None


def read_samples(subject: Subject) -> tuple[DataFacts, WorstFacts | None]:
    """Return the facts on the data, and on the samples that fixed point changes most; None in float32."""
    dataset = subject.dataset
    assert dataset is not None
    runs = subject.runs_within(_QUICK_PRODUCTS if subject.options.quick else _PRODUCTS, 2)
    found, reader = Reading(), _Reader(subject)
    with subject.progress("looking for samples that change", len(dataset)) as advance, np.errstate(all="ignore"):
        for batch in islice(dataset.batches(), min(runs, _MAX_RUNS)):
            _add_ranges(found.ranges, batch.feeds)
            if subject.fixed is not None:
                reader.add(found, batch)
            found.looked_at += batch.count
            advance(batch.count)
    data = DataFacts(
        name=subject.data or "",
        digest=dataset.digest,
        samples=len(dataset),
        batch=dataset.batch,
        has_labels=dataset.labels is not None,
        preprocessing=reader.preprocessing.described(),
        inputs=tuple(found.ranges.values()),
        read=found.looked_at,
    )
    if subject.fixed is None:
        return data, None
    samples = tuple(one for _, one in sorted(found.candidates, key=lambda pair: pair[0])[:KEPT])
    return data, WorstFacts(samples, found.looked_at, found.flips, found.mended, found.broken)


def _add_ranges(ranges: dict[str, InputFacts], feeds: Arrays) -> None:
    for name, array in feeds.items():
        if not isinstance(array, np.ndarray):
            continue
        least = most = None
        if array.size and array.dtype.kind in "biuf":
            least, most = float(np.min(array)), float(np.max(array))
        known = ranges.get(name)
        if known is None:
            ranges[name] = InputFacts(name, shape_text(array.shape), str(array.dtype), least, most)
        elif least is not None and most is not None:
            lows = [one for one in (known.least, least) if one is not None]
            highs = [one for one in (known.most, most) if one is not None]
            ranges[name] = replace(known, least=min(lows), most=max(highs))


class _Reader:
    """Runs of a subject in both arithmetics, sample by sample."""

    def __init__(self, subject: Subject) -> None:
        self._subject, self._names = subject, subject.outputs()
        self.preprocessing = subject.preprocessing
        self._task: tuple[Task, str] | None = None

    def add(self, found: Reading, batch: Batch) -> None:
        """Run some samples, and keep those that change most."""
        subject = self._subject
        assert subject.fixed is not None
        if not self._names:
            raise UnsupportedError("the model has no output that is a tensor")
        exact = dict(zip(self._names, subject.float32.run(self._names, dict(batch.feeds)), strict=True))
        if self._task is None:
            self._task = task_of(
                exact,
                has_labels=batch.labels is not None,
                targets=batch.targets,
                preprocessing=self.preprocessing,
            )
        task, output = self._task
        (real,) = subject.fixed.run([output], dict(batch.feeds))
        reference = exact[output]
        if real.shape != reference.shape or reference.dtype.kind not in "biuf":
            return
        several = reference.ndim > 0 and len(reference) == batch.count
        for i in range(batch.count if several else 1):
            at = slice(i, i + 1) if several else slice(None)
            self._sample(found, batch, (i, several), (reference[at], real[at]), task)

    def _sample(
        self, found: Reading, batch: Batch, place: tuple[int, bool], outputs: tuple[Any, Any], task: Task
    ) -> None:
        i, several = place
        exact, real = outputs
        index = found.looked_at + i
        classes: list[int | None] = [None, None]
        label = int(batch.labels[i]) if batch.labels is not None and several else None
        if task is Task.CLASSES and several:
            classes = [int(classes_of(array)[0]) for array in outputs]
            found.flips = (found.flips or 0) + (classes[0] != classes[1])
            if label is not None:
                found.mended = (found.mended or 0) + (classes[0] != label == classes[1])
                found.broken = (found.broken or 0) + (classes[0] == label != classes[1])
        energy = Energy()
        energy.add(np.asarray(exact, np.float64), np.asarray(real, np.float64))
        ratio = energy.sqnr_db
        flips = classes[0] != classes[1]
        order = (not (flips and classes[0] == label), not flips, _number(ratio), index)
        if len(found.candidates) >= KEPT and order >= found.candidates[-1][0]:
            return
        feeds = {
            name: array[i : i + 1] if several and batch.count > 1 and _is_stacked(self._subject, name) else array
            for name, array in batch.feeds.items()
        }
        pictures = tuple(self._pictures(feeds, exact, real, task))
        found.candidates.append((order, SampleFacts(index, ratio, label, classes[0], classes[1], pictures)))
        found.candidates.sort(key=lambda pair: pair[0])
        del found.candidates[KEPT:]

    def _pictures(self, feeds: Arrays, exact: NDArray[Any], real: NDArray[Any], task: Task) -> Iterator[PictureFacts]:
        for name, array in feeds.items():
            if isinstance(array, np.ndarray) and array.ndim >= 3 and min(array.shape[-3:][1:] or (0,)) > 1:
                yield from _picture(f"input {name}", array, self.preprocessing)
        if task is Task.IMAGES:
            yield from _picture("float32", exact, self.preprocessing)
            yield from _picture("fixed point", real, self.preprocessing)
            error = np.abs(np.asarray(real, np.float64) - np.asarray(exact, np.float64))
            most = float(error.max()) if error.size else 0.0
            shown = (error / most * 255.0).astype(np.float32) if most > 0 else error.astype(np.float32)
            yield from _picture(f"difference, white is {most:.3g}", shown, Preprocessing(layout=self.preprocessing.layout))


def _is_stacked(subject: Subject, name: str) -> bool:
    return subject.dataset is not None and name in subject.dataset.stacked


def _number(ratio: float | None) -> float:
    return float("-inf") if ratio is None else ratio


def _is_normalized(tensor: NDArray[Any]) -> bool:
    """Whether numbers are hardly pixels of 0..255: some are negative, or all are small."""
    return tensor.dtype.kind == "f" and (float(tensor.min()) < 0.0 or float(tensor.max()) <= _LARGEST_NORMALIZED)


def _stretched(tensor: NDArray[Any]) -> NDArray[np.float32]:
    least, most = float(tensor.min()), float(tensor.max())
    return ((tensor - least) * (255.0 / (most - least or 1.0))).astype(np.float32)


def _picture(caption: str, tensor: NDArray[Any], preprocessing: Preprocessing) -> Iterator[PictureFacts]:
    """Yield a tensor as a small picture, if it is one."""
    try:
        pixels = pixels_of(tensor, preprocessing)
    except QEngineError:
        return
    if pixels is None or not np.isfinite(pixels).all():
        return
    if preprocessing == Preprocessing(layout=preprocessing.layout) and _is_normalized(tensor):
        # Nobody said how pixels became these numbers: show all of their range.
        planes = pixels_of(_stretched(tensor), preprocessing)
        pixels = pixels if planes is None else planes
    whole = np.rint(pixels).astype(np.uint8)
    image = Image.fromarray(whole[..., 0] if whole.shape[-1] == 1 else whole)
    longest = max(image.size)
    if longest > _LONGEST_SIDE:
        size = tuple(max(1, round(n * _LONGEST_SIDE / longest)) for n in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.BOX)
    file = BytesIO()
    image.save(file, format="PNG", compress_level=9)
    yield PictureFacts(caption, image.width, image.height, base64.b64encode(file.getvalue()).decode("ascii"))
