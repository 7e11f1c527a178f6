"""Figures of the evaluated output of a single run: every metric, against float32 and against the true output."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.channels import LAYOUTS
from qengine.data.images import is_picture, planes_of
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError
from qengine.metrics.declaration import EvaluatedBatch, Metric, Reference, all_metrics
from qengine.metrics.tasks import Task, is_scores


@dataclass(frozen=True)
class Quality:
    """Figures of one metric; None where there is no reference, or no number.

    Attributes
    ----------
    metric : the metric.
    against_float32 : figure of fixed point against float32.
    against_target : figure of the output against the true output or the labels.
    float32_against_target : figure of float32 against the same.
    baseline_against_target : figure of the baseline, without the network, against the same.
    """

    metric: Metric
    against_float32: float | None = None
    against_target: float | None = None
    float32_against_target: float | None = None
    baseline_against_target: float | None = None

    def figures(self) -> dict[str, float | None]:
        """Return the figures by name."""
        return {name: value for name, value in vars(self).items() if name != "metric"}


@dataclass(frozen=True)
class Truth:
    """The true output of a run, as far as it is known.

    Attributes
    ----------
    image : true picture, in the numbers and the shape of the output.
    baseline : picture that is reached without the network, in the same numbers and shape.
    labels : true class of every item.
    """

    image: NDArray[Any] | None = None
    baseline: NDArray[Any] | None = None
    labels: NDArray[np.int64] | None = None


def read_truth(value: NDArray[Any], output: NDArray[Any], layout: str | None = None) -> Truth:
    """Return an array as the true output: a picture where the output is one, else labels.

    Raises
    ------
    OptionError
        If the array fits neither way.
    """
    if planes_of(output, layout) is not None:
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
    """Return the lengths of the axes without axes of length 1: a grey picture may come without its one channel."""
    return [length for length in array.shape if length != 1]


@dataclass(frozen=True)
class _Tensors:
    """The evaluated output, float32 and the true output, in one form: as numbers, as images or as scores."""

    output: NDArray[Any]
    exact: NDArray[Any] | None
    truth: Truth
    preprocessing: Preprocessing

    def quality(self, metric: Metric) -> Quality:
        """Return the figures of a metric."""
        target, labels = self.truth.image, self.truth.labels

        def figure(array: NDArray[Any] | None, exact: NDArray[Any] | None, **reference: Any) -> float | None:
            if array is None or exact is None:
                return None
            accumulator = metric.accumulator()
            accumulator.add(EvaluatedBatch(array, exact, preprocessing=self.preprocessing, **reference))
            return accumulator.value()

        if metric.reference is Reference.FLOAT32:
            return Quality(metric, figure(self.output, self.exact))
        if metric.reference is Reference.LABELS:
            if labels is None:
                return Quality(metric)
            own, exact = (figure(array, array, labels=labels) for array in (self.output, self.exact))
            return Quality(metric, None, own, exact)
        against_float32 = figure(self.output, self.exact)
        if target is None:
            return Quality(metric, against_float32)
        arrays = (self.output, self.exact, self.truth.baseline)
        return Quality(metric, against_float32, *(figure(array, array, target=target) for array in arrays))


def qualities(
    output: NDArray[Any],
    float_output: NDArray[Any] | None,
    preprocessing: Preprocessing,
    truth: Truth | None = None,
    *,
    is_image: bool = True,
) -> list[Quality]:
    """Return the figures of every metric that an output has; metrics that need another package are left out.

    Parameters
    ----------
    output, float_output
        The output, and the same in float32; None in a float32 run.
    preprocessing
        Scale between pixels and the numbers of the tensors.
    truth
        True output. Pictures of another shape than the output's are ignored.
    is_image
        Whether an output with the shape of an image is one.

    Returns
    -------
    list of Quality
        Figures in the order of the metrics; metrics without any figure are left out.
    """
    truth = truth or Truth()
    if float_output is None and truth.image is None and truth.labels is None:
        return []  # there is nothing to compare with
    forms = dict(_forms(output, float_output, preprocessing, truth))
    if not is_image:
        forms.pop(Task.IMAGES, None)
    found = []
    for metric in all_metrics():
        task = next((task for task in forms if task in metric.tasks), None)
        if task is not None and metric.check is None:
            found.append(forms[task].quality(metric))
    return [one for one in found if any(value is not None for value in one.figures().values())]


def _forms(
    output: NDArray[Any], exact: NDArray[Any] | None, preprocessing: Preprocessing, truth: Truth
) -> Iterator[tuple[Task, _Tensors]]:
    """Yield the tensors in every form that the output has."""
    if output.dtype.kind == "f":
        yield Task.OTHER, _Tensors(output, exact, Truth(), preprocessing)
    if is_scores(output):
        yield Task.CLASSES, _Tensors(output, exact, Truth(labels=truth.labels), preprocessing)
    planes = planes_of(output, preprocessing.layout)
    if planes is None or not preprocessing.fits(len(planes)) or not is_picture(output, preprocessing.layout):
        return

    def images(tensor: NDArray[Any] | None) -> NDArray[Any] | None:
        """Return a picture as one sample (1, C, H, W); None if it has another shape, or is not a picture."""
        if tensor is None or tensor.shape != output.shape or not is_picture(tensor, preprocessing.layout):
            return None
        picture = planes_of(tensor, preprocessing.layout)
        return None if picture is None else picture[None]

    own = images(output)
    assert own is not None
    scale = replace(preprocessing, layout=LAYOUTS[0])
    yield Task.IMAGES, _Tensors(own, images(exact), Truth(images(truth.image), images(truth.baseline)), scale)
