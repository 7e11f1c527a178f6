"""Rewrites of a graph, each a function Graph -> Graph in a file of its own, in the order in which they run.

A pass never gives a tensor's name another meaning: a tensor is computed as before, or it is gone.
"""

from collections.abc import Callable

from qengine.graph import Graph
from qengine.passes.activation import fuse_activations
from qengine.passes.batchnorm import fold_batchnorm
from qengine.passes.constants import fold_constants
from qengine.passes.dead import remove_dead
from qengine.passes.gemm import fold_gemm_factors

PASSES: tuple[Callable[[Graph], Graph], ...] = (
    remove_dead,
    fold_constants,
    fold_gemm_factors,
    fold_batchnorm,
    fuse_activations,
    remove_dead,
)


def optimize(graph: Graph) -> Graph:
    """Return the graph after all passes."""
    for rewrite in PASSES:
        graph = rewrite(graph)
    return graph


__all__ = [
    "PASSES",
    "fold_batchnorm",
    "fold_constants",
    "fold_gemm_factors",
    "fuse_activations",
    "optimize",
    "remove_dead",
]
