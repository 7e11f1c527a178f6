"""A warning about a classifier that is hardly ever right in float32: its data is wrong, and not its formats."""

from collections.abc import Iterator, Sequence

from qengine.analysis.evaluation.result import MetricFigures
from qengine.metrics.declaration import Reference

_FEW = 8


def hardly_more_than_chance(figures: Sequence[MetricFigures], classes: Sequence[str], samples: int) -> Iterator[str]:
    """Yield a note where float32 is right about as often as a guess is.

    Parameters
    ----------
    figures
        Figures of the evaluation.
    classes
        Names of the classes; none where their number is not known.
    samples
        Number of samples.
    """
    if samples < _FEW or len(classes) < 2:
        return
    for one in figures:
        is_accuracy = one.metric.name == "top1" and one.reference is Reference.LABELS
        if is_accuracy and one.float32 is not None and one.float32 <= 2 / len(classes) + 1 / samples:
            yield (
                f"float32 itself is right for {one.float32:.1%} of the samples, where a guess is for "
                f"{1 / len(classes):.1%}: are the preprocessing (--scale, --mean, --std, --bgr), the labels and the "
                "order of the classes those of training? 'qengine init MODEL' tries the usual ones"
            )
