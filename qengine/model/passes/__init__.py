"""Passes: rewrites of a graph, each a function Graph -> Graph in a file of its own, in the order of `PASSES`.

A pass never changes the meaning of a tensor's name: it computes the tensor as before, or removes it.
"""

from collections.abc import Callable

from qengine.model.graph import Graph
from qengine.model.passes.activation import fuse_activations
from qengine.model.passes.batchnorm import fold_batchnorm
from qengine.model.passes.constants import fold_constants
from qengine.model.passes.dead import remove_dead
from qengine.model.passes.function_recognition import recognise_functions
from qengine.model.passes.gemm import fold_gemm_factors
from qengine.model.passes.hidden_tensors import name_hidden_tensors, with_hidden_outputs
from qengine.model.passes.pad import fold_pads
from qengine.model.passes.qdq_reader import read_quantized


def read_model(graph: Graph) -> Graph:
    """Return the graph whose tensors have names and formats: without its quantization, and with hidden tensors."""
    return name_hidden_tensors(read_quantized(graph))


PASSES: tuple[Callable[[Graph], Graph], ...] = (
    read_model,
    remove_dead,
    fold_constants,
    recognise_functions,
    fold_pads,
    fold_gemm_factors,
    fold_batchnorm,
    fuse_activations,
    remove_dead,
)


def optimize(graph: Graph, *, gives_hidden: bool = False) -> tuple[Graph, ...]:
    """Return the given graph and the graph after each pass; a run computes the last one.

    Parameters
    ----------
    graph
        The graph.
    gives_hidden
        Whether the last graph gives the tensors inside of nodes too; see `hidden_tensors`.
    """
    stages = [graph]
    for rewrite in PASSES:
        stages.append(rewrite(stages[-1]))
    if gives_hidden:
        stages[-1] = with_hidden_outputs(stages[-1])
    return tuple(stages)


__all__ = [
    "PASSES",
    "fold_batchnorm",
    "fold_constants",
    "fold_gemm_factors",
    "fold_pads",
    "fuse_activations",
    "optimize",
    "read_model",
    "read_quantized",
    "recognise_functions",
    "remove_dead",
    "with_hidden_outputs",
]
