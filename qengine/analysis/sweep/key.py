"""Keys of points: digests of all that a result depends on. Another model, other data or another option: another key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from qengine.analysis.sweep.points import Point
from qengine.model.custom import Custom
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import find

ARITHMETIC = 4
"""Version of the results of runs in fixed point, calibrations and corrections; a new number changes every key."""

MEASURES = 2
"""Version of the figures of a metric; a new number changes every key."""


@dataclass(frozen=True)
class Context:
    """The part of every key that the points of a sweep have in common.

    Attributes
    ----------
    model : `graph_digest` of the model.
    data : digest of the data set.
    version : version of qengine.
    batch : samples in a run.
    preprocessing : scale between pixels and numbers, as text.
    ssim : whether SSIM is measured.
    strict : whether an operator that would compute in float32 is an error.
    max_elements : number of elements of the largest tensor that a run may make.
    arithmetic, measures : `ARITHMETIC` and `MEASURES`.
    """

    model: str
    data: str
    version: str
    batch: int
    preprocessing: str
    ssim: bool
    strict: bool
    max_elements: int
    arithmetic: int = ARITHMETIC
    measures: int = MEASURES

    @property
    def key(self) -> str:
        """The key of the sweep: of float32, and of all that does not depend on the point."""
        return _hashed(asdict(self))

    def point_key(self, point: Point) -> str:
        """Return the key of a point."""
        compared = {f.name: getattr(point, f.name) for f in fields(point) if f.compare}
        return _hashed({"context": asdict(self), "point": compared})


def _hashed(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def first_registered(graph: Graph) -> Node | None:
    """Return the first node with a registered operator, whose code is in no key; None for none."""
    for node in graph.nodes:
        if isinstance(find(node), Custom):
            return node
        for inner in node.graphs.values():
            if (found := first_registered(inner)) is not None:
                return found
    return None
