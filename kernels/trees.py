"""Specifications of the kernels of ensembles of decision trees: the search, and what follows from its scores."""

from dataclasses import dataclass
from enum import IntEnum

LANES = 8
"""Searches that the kernel interleaves; it needs 8 bytes of scratch memory for each."""


def node_words(wide: bool) -> int:
    """Return the int32 words of a node: threshold, feature and two children; with a threshold of float64 padded."""
    return 8 if wide else 4


class Join(IntEnum):
    """A way to join the weights of a target."""

    ADD = 0
    MIN = 1
    MAX = 2


class Choice(IntEnum):
    """A way to choose the label of a row, and the scores of two classes that go with it."""

    LARGEST = 0
    """The class with the largest score."""
    SECOND = 1
    """The second of two classes, if its score is above the threshold."""
    SHARE = 2
    """The same; the first class has 1 - score."""
    NEGATIVE = 3
    """The same; the first class has -score."""


class Transform(IntEnum):
    """The transform of the scores, as ONNX spells it."""

    NONE = 0
    SOFTMAX = 1
    LOGISTIC = 2
    SOFTMAX_ZERO = 3


@dataclass(frozen=True)
class Trees:
    """Scores of rows: the weights of the leaves that each reaches, joined by target, plus base values.

    Attributes
    ----------
    element : type of a feature: f32, f64, i32 or i64.
    wide : whether thresholds, weights and scores are float64 instead of float32.
    nan : whether nodes say where NaN goes; otherwise it takes the second child. The feature of a node is then twice
        its number, plus 1 where NaN takes the first child.
    single : whether each leaf has one weight, for the only target, and weights are added; the threshold of a leaf is
        then its weight, and otherwise the number of the leaf.
    """

    element: str
    wide: bool
    nan: bool
    single: bool

    emitter = "trees"
    # x: rows; scores: their scores; given: 1 where a target of a row has a weight; forest: the numbers `FOREST`.
    arguments = ("x", "scores", "given", "first", "end", "forest", "scratch")


FOREST = (
    *("features", "columns", "block", "nodes", "roots", "depths", "count", "leaves", "targets", "weights"),
    *("join", "divisor", "base"),
)
"""Numbers of a forest: features of a row; scores of a row; rows that are computed together; nodes of all trees; root
(in words) and depth of each of `count` trees; first weight and number of weights of each leaf; target and value of each
weight; a `Join`; divisor of an average, or 0; base value of each target."""


@dataclass(frozen=True)
class TreeResults:
    """Transformed scores of rows, and a label for each.

    Attributes
    ----------
    wide : whether scores are float64 instead of float32.
    out : type of the results.
    """

    wide: bool
    out: str

    emitter = "tree_results"
    # scores, given: see `Trees`; y: results; label: label of each row, or 0 for none; facts: the numbers `RESULTS`.
    arguments = ("scores", "given", "y", "label", "first", "end", "facts", "scratch")  # scratch: 8 bytes


RESULTS = ("columns", "names", "choice", "transform", "column", "halves", "has_base")
"""Numbers of results: scores of a row; labels of the classes; a `Choice`; a `Transform`. For SECOND and the choices
after it: place of the score, and twice the threshold. For LARGEST: whether a class without a weight may be chosen."""
