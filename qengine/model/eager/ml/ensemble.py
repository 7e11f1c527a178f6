"""Ensemble: a forest with what its operator makes of the sums of its leaves: base values, labels, a transform.

Classifiers of two classes have conventions that converters rely on and the specification leaves open. They are those
of ONNX Runtime:

- Where every weight is for class 0, the sum is the score of the *second* class. Without negative weights it is a
  probability: the second class is chosen above 0.5, and the first has 1 - score. With negative weights it is chosen
  above 0, and the first has -score.
- Where every weight is for class 1, the second class is chosen in the same way, and the first has the score 0.

With weights for both classes the larger score decides, as the specification says. ONNX Runtime returns the label 1 or
0 by the sign of the second score there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.eager.kept import kept
from qengine.model.eager.ml.features import rows_of
from qengine.model.eager.ml.forest import Forest, Reals
from qengine.model.eager.ml.scores import of_two_classes, transformed
from qengine.model.graph import Node


@dataclass(frozen=True)
class Ensemble:
    """A tree operator, made of its attributes.

    Attributes
    ----------
    forest : the trees, whose weights have the dtype that the operator computes in.
    function : SUM, AVERAGE, MIN or MAX of the weights of the leaves that a sample reaches.
    base : base values, added to the scores: one for each target, or one for the only class with weights.
    transform : name of the transform of the scores.
    dtype : element type of the scores.
    labels : labels of the classes; None for a regressor.
    column : class that all weights are for, in a classifier of two classes; None for any other.
    has_base : whether base values are given.
    is_probability : whether no weight is negative, so that the score of a single class is a share of 1.
    """

    forest: Forest
    function: str
    base: Reals
    transform: str
    dtype: np.dtype[Any]
    labels: NDArray[Any] | None = None
    column: int | None = None
    has_base: bool = False
    is_probability: bool = False

    @property
    def threshold(self) -> float:
        """The score above which a classifier with weights for one class chooses the second."""
        return 0.5 if self.is_probability else 0.0

    @property
    def is_share(self) -> bool:
        """Whether the first of two classes has 1 - score; see `of_two_classes`."""
        return self.is_probability and self.transform != "LOGISTIC"

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the targets of each row."""
        scores, _ = self._scores(x)
        return transformed(scores + self.base, self.transform).astype(self.dtype)

    def classify(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the label of each row, and the scores of its classes."""
        labels = self.labels
        assert labels is not None
        scores, is_given = self._scores(x)
        if self.column is None:
            scores += self.base
            chosen = np.where(is_given | self.has_base, scores, -np.inf).argmax(axis=1)
            return labels[chosen], transformed(scores, self.transform).astype(self.dtype)
        second = scores[:, self.column] + self.base[0]
        chosen = (second > self.threshold).astype(np.intp)
        if self.column == 1:
            return labels[chosen], transformed(scores, self.transform).astype(self.dtype)
        return labels[chosen], of_two_classes(second, self.transform, is_probability=self.is_share).astype(self.dtype)

    def _scores(self, x: NDArray[Any]) -> tuple[Reals, NDArray[np.bool_]]:
        return self.forest.scores(rows_of(x).astype(self.forest.weight.dtype), self.function)


def kept_ensemble(node: Node) -> Ensemble | None:
    """Return the trees of a node that was planned; None where that was for features of several types."""
    found = [one for one in kept(node) if isinstance(one, Ensemble)]
    return found[0] if len(found) == 1 else None
