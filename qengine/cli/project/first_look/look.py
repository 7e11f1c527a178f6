"""The first look: the inputs of a model, its task, its data, and the preprocessing that fits both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qengine.cli.options import DataOptions
from qengine.cli.project.first_look.candidates import Candidate, candidates
from qengine.cli.project.first_look.pictures import Pictures, fitting, read_pictures
from qengine.cli.project.first_look.trials import Trials, try_all
from qengine.cli.project.first_look.verdicts import Verdict, verdict
from qengine.data.applied import base_of
from qengine.data.channels import CHANNELS, channel_axis
from qengine.data.datasets import Dataset
from qengine.data.preprocessing import Preprocessing
from qengine.data.zoo import ENTRIES, Entry
from qengine.errors import FeedError, OptionError, QEngineError
from qengine.metrics.tasks import Task
from qengine.model.graph import Dim, Graph, Value
from qengine.runtime.session import InferenceSession

NORMALIZING = ("mean", "std", "scale", "bgr")


@dataclass(frozen=True)
class Look:
    """A model and its data, and the preprocessing that fits both.

    Attributes
    ----------
    inputs, outputs : inputs and outputs of the model.
    task : kind of the output, None where it is unknown.
    output : name of the output that the task is about; None where it is unknown.
    classes : number of classes; None where there are none, or it is unknown.
    dataset : the data as it is read with `options`; None without data.
    pictures : picture files of the data; None where it is none.
    trials, verdict : runs with each preprocessing, and the choice; None where nothing was run.
    options : options of preprocessing for the project file, as they are typed.
    problem : the error that kept the model from running on the data; "" for none.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    task: Task | None
    output: str | None
    classes: int | None
    dataset: Dataset | None
    pictures: Pictures | None
    trials: Trials | None
    verdict: Verdict | None
    options: Mapping[str, Any]
    problem: str = ""


def look(
    session: InferenceSession,
    data: DataOptions,
    name: str | None,
    entry: Entry | None,
    max_elements: int,
    advance: Callable[[float], None],
) -> Look:
    """Return what there is to say of a model and its data.

    Parameters
    ----------
    session
        The model in float32.
    data
        Options of the data as typed.
    name
        Name of the data; None without any.
    entry
        The bundled model, if it is one.
    max_elements
        Largest number of elements of a sample.
    advance
        Function that is called with the share of the work that was done.

    Raises
    ------
    QEngineError
        If there is no such data, or what was typed has another form.
    """
    graph = session.graph
    inputs, outputs = tuple(graph.inputs), tuple(graph.outputs)
    task, output, classes = declared_task(outputs)
    typed = {key: value for key, value in _typed(data).items() if value not in (None, False)}
    if name is None:
        if data.labels is not None:
            raise OptionError("--labels are those of samples: give --data with it")
        return Look(inputs, outputs, task, output, classes, None, None, None, None, typed)
    picture = _picture_input(graph, data)
    height, width, channels = (None, None, None) if picture is None else _size(picture, data.layout)
    pictures = read_pictures(name, channels if isinstance(channels, int) else None)
    sized = _sized(data, pictures, height, width)
    options = {key: value for key, value in _typed(sized).items() if value not in (None, False)}

    base = base_of(None, graph, ENTRIES.get(name) or entry)

    def open_data(preprocessing: Preprocessing) -> Dataset:
        return replace(sized, **_as_typed(preprocessing)).open(name, base, graph, max_elements)

    dataset = sized.open(name, base, graph, max_elements)
    is_typed = any(key in typed for key in NORMALIZING)
    own = Candidate("as typed", {key: typed[key] for key in NORMALIZING if key in typed}) if is_typed else None
    known = candidates(channels if isinstance(channels, int) else None, height if isinstance(height, int) else None)
    tried = [*([own] if own else []), *(known if dataset.reads_pixels else [Candidate("unchanged")][bool(own) :])]
    try:
        with np.errstate(all="ignore"):
            trials = try_all(session, open_data, tried, sized.preprocessing(base), advance=advance)
    except QEngineError as error:
        return Look(inputs, outputs, task, output, classes, dataset, pictures, None, None, options, problem=str(error))
    chosen = verdict(trials, typed=own is not None)
    options |= trials.trials[chosen.chosen].candidate.options
    count = trials.shape[1] if trials.task is Task.CLASSES and len(trials.shape) == 2 else classes
    return Look(inputs, outputs, trials.task, trials.output, count, dataset, pictures, trials, chosen, options)


def declared_task(outputs: tuple[Value, ...]) -> tuple[Task | None, str | None, int | None]:
    """Return the task of a model by the declared shapes of its outputs, that output, and the number of classes."""
    for value in outputs:
        shape = value.shape
        if shape is None or value.dtype is None or value.dtype.kind != "f":
            continue
        if len(shape) == 2 and isinstance(shape[1], int) and shape[1] > 1:
            return Task.CLASSES, value.name, shape[1]
        if len(shape) == 4 and any(n in CHANNELS for n in (shape[1], shape[3])):
            return Task.IMAGES, value.name, None
    return None, None, None


def _typed(data: DataOptions) -> dict[str, Any]:
    return {key: getattr(data, key) for key in (*NORMALIZING, "resize", "crop", "layout", "convert")}


def _as_typed(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the options whose preprocessing is a given one: without a mean, and with a scale of pixels."""
    return {
        "mean": ",".join(map(repr, preprocessing.mean)),
        "scale": ",".join(map(repr, preprocessing.scale)),
        "std": None,
        "bgr": preprocessing.bgr,
    }


def _picture_input(graph: Graph, data: DataOptions) -> Value | None:
    """Return the input that takes pictures: the first of real numbers, or bytes, with two or more axes of pixels."""
    given = {text.partition("=")[0] for text in data.inputs or ()}
    for value in graph.inputs:
        if value.name not in given and value.shape is not None and len(value.shape) in (2, 3, 4):
            return value
    return None


def _size(picture: Value, layout: str | None) -> tuple[Dim, Dim, Dim]:
    """Return height, width and channels of the pictures that an input takes; None for channels without an axis."""
    shape = picture.shape or ()
    if len(shape) == 2:
        return shape[0], shape[1], 1
    try:
        axis = channel_axis(shape, layout)
    except FeedError:
        axis = -3
    height, width = shape[-3:-1] if axis == -1 else shape[-2:]
    return height, width, shape[axis]


def _sized(data: DataOptions, pictures: Pictures | None, height: Dim, width: Dim) -> DataOptions:
    """Return the options of data with the sizes and changes that the pictures need, as far as none were typed."""
    if pictures is None:
        return data
    changes: dict[str, Any] = {}
    if data.resize is None and data.crop is None and "size" not in (data.convert or ""):
        changes["resize"], changes["crop"] = fitting(pictures.sizes, height, width)
    if data.convert is None and pictures.conversions:
        changes["convert"] = ",".join(pictures.conversions)
    return replace(data, **changes)
