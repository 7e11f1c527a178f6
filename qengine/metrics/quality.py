"""How good an answer is: pictures by PSNR, classes by top-1."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.images import PixelScale, pixels_of, planes_of
from qengine.errors import OptionError
from qengine.metrics.psnr import psnr


@dataclass(frozen=True)
class ImageQuality:
    """PSNR in dB of pixels clipped to 0..255 and not rounded; None where there is nothing to compare with.

    Attributes
    ----------
    against_float : fixed point against float32.
    against_target : the output against the truth.
    float_against_target : float32 against the truth.
    baseline_against_target : what is reached without the network against the truth.
    """

    against_float: float | None
    against_target: float | None = None
    float_against_target: float | None = None
    baseline_against_target: float | None = None


@dataclass(frozen=True)
class ClassQuality:
    """Top-1 of a classifier, as fractions; of equal scores the first counts.

    Attributes
    ----------
    agreement : items in which fixed point and float32 name the same class; None in a float32 run.
    accuracy, float_accuracy : against labels, where there are any.
    items : how many.
    """

    agreement: float | None
    accuracy: float | None
    float_accuracy: float | None
    items: int


@dataclass(frozen=True)
class Truth:
    """What the answer should be, as far as it is known.

    Attributes
    ----------
    image : the true picture, in the output's numbers and shape.
    baseline : what is reached without the network, alike.
    labels : the true class of every item.
    """

    image: NDArray[Any] | None = None
    baseline: NDArray[Any] | None = None
    labels: NDArray[np.int64] | None = None


def read_truth(value: NDArray[Any], output: NDArray[Any]) -> Truth:
    """Return what an array says of the right answer: a picture where the output is one, else labels.

    Raises
    ------
    OptionError
        If it fits neither way.
    """
    if planes_of(output) is not None:
        if _lengths(value) != _lengths(output):
            raise OptionError(f"the target has shape {list(value.shape)}, the output {list(output.shape)}")
        return Truth(image=value.reshape(output.shape))
    if not is_scores(output):
        raise OptionError(f"no target can be compared with an output {list(output.shape)}: neither image nor classes")
    items, classes = output.shape
    if value.size != items:
        raise OptionError(f"the target has shape {list(value.shape)}; {items} label(s) are needed, one for each item")
    if not ((value == np.rint(value)) & (value >= 0) & (value < classes)).all():
        raise OptionError(f"the target's labels must be whole numbers from 0 to {classes - 1}")
    return Truth(labels=value.ravel().astype(np.int64))


def _lengths(array: NDArray[Any]) -> list[int]:
    """Return the lengths of the axes that count: a grey picture may come with or without its one channel."""
    return [length for length in array.shape if length != 1]


def is_scores(output: NDArray[Any]) -> bool:
    """Whether there is one row of scores for each item."""
    return output.ndim == 2 and output.shape[1] > 1 and len(output) > 0 and output.dtype.kind == "f"


def image_quality(
    output: NDArray[Any],
    float_output: NDArray[Any] | None,
    pixel_scale: PixelScale,
    truth: Truth | None = None,
) -> ImageQuality | None:
    """Compare images; None where the output is not an image, or has channels that the scale does not know.

    Parameters
    ----------
    output, float_output
        Tensors that can be seen as one image; `float_output` is None in a float32 run.
    pixel_scale
        What makes pixels of their numbers.
    truth
        What to compare with; what has not the output's shape is left out.
    """
    planes = planes_of(output)
    if planes is None or not pixel_scale.fits(len(planes)):
        return None

    def pixels(tensor: NDArray[Any] | None) -> NDArray[np.float64] | None:
        return None if tensor is None or tensor.shape != output.shape else pixels_of(tensor, pixel_scale)

    def decibels(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> float | None:
        return None if a is None or b is None else psnr(a, b)

    known = truth or Truth()
    own, exact, target, baseline = map(pixels, (output, float_output, known.image, known.baseline))
    if own is None:
        return None
    return ImageQuality(
        decibels(own, exact), decibels(own, target), decibels(exact, target), decibels(baseline, target)
    )


def class_quality(
    output: NDArray[Any], float_output: NDArray[Any] | None, truth: Truth | None = None
) -> ClassQuality | None:
    """Compare classes; None where the output is not one row of scores for each item.

    Labels that are not as many as the items are left out.
    """
    if not is_scores(output):
        return None
    labels = truth.labels if truth else None
    if labels is not None and labels.shape != output.shape[:1]:
        labels = None
    own = output.argmax(axis=1)
    exact = None if float_output is None else float_output.argmax(axis=1)
    return ClassQuality(
        None if exact is None else float(np.mean(own == exact)),
        None if labels is None else float(np.mean(own == labels)),
        None if labels is None or exact is None else float(np.mean(exact == labels)),
        len(output),
    )
