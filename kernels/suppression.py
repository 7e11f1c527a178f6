"""Specification of the kernel that chooses boxes among those that overlap."""

from dataclasses import dataclass

BOX_BYTES = 36
"""The bytes of scratch memory for each box of an image: five float32 and two int64."""


@dataclass(frozen=True)
class Suppression:
    """Boxes with the highest scores of each class, without those that overlap a better one; see NonMaxSuppression."""

    emitter = "suppression"
    # boxes, scores: float32 [batches, boxes, 4] and [batches, classes, boxes]. y: rows (batch, class, box), int64.
    # facts: the numbers `FACTS`. limits: largest overlap and least score, float32. scratch: see `BOX_BYTES`.
    arguments = ("boxes", "scores", "y", "facts", "limits", "scratch")


FACTS = ("batches", "classes", "boxes", "most", "is_centered", "has_least", "capacity", "found")
"""Numbers of a run: lengths; most boxes of a class; whether boxes are given by their centers; whether there is a least
score; rows that y has room for; and, written by the kernel, the rows that were found, which may be more."""
