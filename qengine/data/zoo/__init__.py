"""The bundled models, each with a sample input and a data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.images import read_image
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError
from qengine.near_files import missing_file, other_model

_FOLDER = files(__name__)


@dataclass(frozen=True)
class Sample:
    """Input of a bundled model, with the outputs or classes that it should give.

    Attributes
    ----------
    feeds : arrays by input name.
    data_input : name of the input that `target` and `labels` belong to.
    target : true output, in the numbers of the model; None if there is none.
    baseline : name of an intermediate tensor to compare the output with, such as the enlarged image; None if there
        is none.
    labels : true class of every item; None if there are none.
    """

    feeds: Mapping[str, NDArray[Any]]
    data_input: str
    target: NDArray[np.float32] | None = None
    baseline: str | None = None
    labels: NDArray[np.int64] | None = None

    def pixels_beside(self, given: Container[str]) -> tuple[str, ...]:
        """Return the name of the input that is made of pixels, where it is not among the inputs that are given."""
        return () if self.data_input in given else (self.data_input,)


@dataclass(frozen=True)
class Entry:
    """A bundled model.

    Attributes
    ----------
    name : name on the command line.
    summary : description in one line.
    preprocessing : conversion of pixels to the numbers that the model was trained on.
    read_sample : function that reads the sample with a given conversion of pixels.
    data_file : name of an .npz file of samples that the model was not trained on.
    """

    name: str
    summary: str
    preprocessing: Preprocessing
    read_sample: Callable[[Preprocessing], Sample]
    data_file: str

    def sample(self, preprocessing: Preprocessing | None = None) -> Sample:
        """Return the sample, by default with the conversion of pixels that the model was trained on."""
        return self.read_sample(preprocessing or self.preprocessing)

    @property
    def path(self) -> Path:
        """The path of the .onnx file."""
        return bundled(f"{self.name}.onnx")

    @property
    def data(self) -> Path:
        """The path of the data set, an .npz file of inputs by name, and labels or targets; pixels are uint8."""
        return bundled(self.data_file)


def bundled(name: str) -> Path:
    """Return the path of a file that comes with the package."""
    with as_file(_FOLDER / name) as path:
        return path


_UNIT = Preprocessing(scale=(1 / 255,))


def _srcnn_sample(scale: Preprocessing) -> Sample:
    small = scale.to_numbers(read_image(bundled("srcnn_sample.png"), 3))[None]
    truth = scale.to_numbers(read_image(bundled("srcnn_original.png"), 3))[None]
    factor = np.array([1, 1, 3, 3], np.float32)
    return Sample({"input": small, "factor": factor}, "input", target=truth, baseline="upscaled")


def _digits_sample(scale: Preprocessing) -> Sample:
    with np.load(bundled("digits_heldout.npz"), allow_pickle=False) as held_out:
        images, labels = held_out["images"], held_out["labels"]
    numbers = scale.to_numbers(images.reshape(-1, images.shape[-1], 1)).reshape(len(images), 1, *images.shape[1:])
    return Sample({"image": numbers}, "image", labels=labels.astype(np.int64))


ENTRIES: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "srcnn",
            "super-resolution of RGB images by a factor that is an input",
            _UNIT,
            _srcnn_sample,
            "srcnn_set.npz",
        ),
        Entry(
            "digits",
            "handwritten digits, 28 x 28, with depthwise-separable convolutions",
            _UNIT,
            _digits_sample,
            "digits_heldout.npz",
        ),
    )
}


def path_of(model: str) -> Path:
    """Return the path of a bundled model, or `model` as a path; raise OptionError as `find` does."""
    entry = find(model)
    return entry.path if entry else Path(model)


def find(model: str) -> Entry | None:
    """Return the bundled model with a name; None if `model` is a path.

    Raises
    ------
    OptionError
        If `model` is neither the name of a bundled model nor an existing path.
    """
    if model in ENTRIES:
        return ENTRIES[model]
    try:
        exists = os.path.exists(model)  # noqa: PTH110 - pathlib raises for names that are too long
    except ValueError:  # a NUL
        exists = False
    if not exists:
        near, hint = missing_file(model, ENTRIES), other_model(model)
        names = ", ".join(ENTRIES)
        raise OptionError(
            f"there is no file '{model}', and no bundled model of that name{near}"
            f"{f'; {hint}' if hint else ''}; bundled are {names}"
        )
    return None
