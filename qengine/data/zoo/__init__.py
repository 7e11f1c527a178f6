"""The models that come with the package, each with the input that shows it at work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.images import PixelScale, read_image
from qengine.errors import OptionError

_FOLDER = files(__name__)


@dataclass(frozen=True)
class Sample:
    """An input of a bundled model and what is known of the answer.

    Attributes
    ----------
    feeds : arrays by input name.
    data_input : the input that `target` and `labels` belong to.
    target : the true output, as the model's numbers; None where there is none.
    baseline : an intermediate tensor that shows what is reached without the network.
    labels : the true class of every item.
    """

    feeds: Mapping[str, NDArray[Any]]
    data_input: str
    target: NDArray[np.float32] | None = None
    baseline: str | None = None
    labels: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Entry:
    """A bundled model.

    Attributes
    ----------
    name : what a command line calls it.
    summary : one line.
    pixel_scale : how pixels become its numbers.
    read_sample : reads its sample, pixels becoming numbers as they are told to.
    data_file : an .npz file of samples that it was not trained on.
    """

    name: str
    summary: str
    pixel_scale: PixelScale
    read_sample: Callable[[PixelScale], Sample]
    data_file: str

    def sample(self, pixel_scale: PixelScale | None = None) -> Sample:
        """Return the sample, by default with the numbers that the model was trained on."""
        return self.read_sample(pixel_scale or self.pixel_scale)

    @property
    def path(self) -> Path:
        """The .onnx file."""
        return bundled(f"{self.name}.onnx")

    @property
    def data(self) -> Path:
        """The .npz file of its data set: inputs by name, and labels or targets; pixels are uint8."""
        return bundled(self.data_file)


def bundled(name: str) -> Path:
    """Return the path of a file that comes with the package."""
    with as_file(_FOLDER / name) as path:
        return path


_UNIT = PixelScale(scale=(1 / 255,))


def _srcnn_sample(scale: PixelScale) -> Sample:
    small = scale.to_numbers(read_image(bundled("srcnn_sample.png"), 3))[None]
    truth = scale.to_numbers(read_image(bundled("srcnn_original.png"), 3))[None]
    factor = np.array([1, 1, 3, 3], np.float32)
    return Sample({"input": small, "factor": factor}, "input", target=truth, baseline="upscaled")


def _digits_sample(scale: PixelScale) -> Sample:
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
    """Return the file of a bundled model, or the path that `model` is; OptionError as of `find`."""
    entry = find(model)
    return entry.path if entry else Path(model)


def find(model: str) -> Entry | None:
    """Return the bundled model of that name; None where `model` is a path.

    Raises
    ------
    OptionError
        If it is neither a bundled name nor a path that exists.
    """
    if model in ENTRIES:
        return ENTRIES[model]
    if not os.path.exists(model):  # noqa: PTH110 - pathlib raises for names that are too long
        names = ", ".join(ENTRIES)
        raise OptionError(f"there is no file '{model}', and no bundled model of that name; bundled are {names}")
    return None
