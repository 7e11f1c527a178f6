"""Facts on the data: the range of every input, and pictures of the samples that fixed point changes most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.evaluation import Evaluation, SampleDifference
from qengine.data.datasets import Batch
from qengine.data.preprocessing import Preprocessing
from qengine.html_report.facts import DataFacts, InputFacts, PictureFacts, SampleFacts, WorstFacts
from qengine.html_report.gather.model import shape_text
from qengine.html_report.gather.subject import Subject, shown_path
from qengine.html_report.gather.thumbnails import thumbnail
from qengine.metrics.tasks import Task

_MAX_IMAGES = 5
"""Samples whose outputs are pictures too, of which each has four."""

_ELEMENTS, _QUICK_ELEMENTS = 4e9, 4e8
"""Elements whose range is read."""

Arrays = Mapping[str, NDArray[Any]]


def read_samples(subject: Subject, evaluation: Evaluation | None) -> tuple[DataFacts, WorstFacts | None]:
    """Return the facts on the data, and on the samples that fixed point changes most; None where none is known."""
    dataset = subject.dataset
    assert dataset is not None
    found = evaluation.worst if evaluation is not None and evaluation.in_fixed_point else ()
    if evaluation is not None and evaluation.task is Task.IMAGES:
        found = found[:_MAX_IMAGES]
    wanted = {one.index: one for one in found}
    ranges: dict[str, InputFacts] = {}
    pictures: dict[int, tuple[PictureFacts, ...]] = {}
    read = 0
    with subject.progress("reading samples|samples", len(dataset)) as advance, np.errstate(all="ignore"):
        for batch in islice(dataset.batches(), _runs(subject)):
            _add_ranges(ranges, batch.feeds)
            for index in range(read, read + batch.count):
                if index in wanted:
                    pictures[index] = tuple(_pictures(subject, evaluation, batch, index - read))
            read += batch.count
            advance(batch.count)
    data = DataFacts(
        name=shown_path(subject.data) if subject.data is not None else dataset.name,
        digest=dataset.digest,
        samples=len(dataset),
        batch=dataset.batch,
        has_labels=dataset.labels is not None,
        preprocessing=subject.preprocessing_words,
        inputs=tuple(ranges.values()),
        read=read,
    )
    if evaluation is None or not evaluation.in_fixed_point:
        return data, None
    samples = tuple(_sample(one, pictures.get(one.index, ())) for one in found)
    return data, WorstFacts(samples, evaluation.samples, evaluation.flips, *_flips(evaluation), evaluation.classes)


def _runs(subject: Subject) -> int:
    """Return how many runs are read."""
    fed = sum(array.size for array in subject.feeds_of_one.values() if isinstance(array, np.ndarray))
    batch = subject.dataset.batch if subject.dataset is not None else 1
    return max(int((_QUICK_ELEMENTS if subject.options.quick else _ELEMENTS) / max(fed * batch, 1)), 1)


def _sample(one: SampleDifference, pictures: tuple[PictureFacts, ...]) -> SampleFacts:
    name = None if one.name is None else shown_path(one.name)
    return SampleFacts(one.index, name, one.sqnr_db, one.label, one.float32_class, one.fixed_class, pictures)


def _flips(evaluation: Evaluation) -> tuple[int | None, int | None]:
    """Return how many flips are from wrong to right and from right to wrong, where all of them are known."""
    flips = [one for one in evaluation.worst if one.flips]
    if evaluation.flips is None or len(flips) < evaluation.flips or any(one.label is None for one in flips):
        return None, None
    return sum(one.fixed_class == one.label for one in flips), sum(one.float32_class == one.label for one in flips)


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


def _pictures(subject: Subject, evaluation: Evaluation | None, batch: Batch, place: int) -> Iterator[PictureFacts]:
    """Yield the inputs of a sample that are pictures, and for a model of pictures its outputs too."""
    assert subject.dataset is not None
    assert subject.fixed is not None
    stacked = subject.dataset.stacked if batch.count > 1 else frozenset[str]()
    feeds = {name: array[place : place + 1] if name in stacked else array for name, array in batch.feeds.items()}
    for name, array in feeds.items():
        if isinstance(array, np.ndarray) and array.ndim >= 3 and all(n > 1 for n in sorted(array.shape)[-2:]):
            yield from thumbnail(f"input {name}", array, subject.preprocessing)
    if evaluation is None or evaluation.task is not Task.IMAGES:
        return
    name = evaluation.evaluated_output
    (exact,), (real,) = subject.float32.run([name], feeds), subject.fixed.run([name], feeds)
    yield from thumbnail("float32", exact, subject.preprocessing)
    yield from thumbnail("fixed point", real, subject.preprocessing)
    if exact.shape == real.shape and exact.size:
        error = np.abs(np.asarray(real, np.float64) - np.asarray(exact, np.float64))
        most = float(error.max())
        grey = (error * (255.0 / (most or 1.0))).astype(np.float32)
        words = f"difference, the brightest is {most:.3g}" if most else "no difference"
        yield from thumbnail(words, grey, Preprocessing(layout=subject.preprocessing.layout), is_scaled=True)
