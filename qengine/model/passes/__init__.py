"""Passes: rewrites of a graph, each a function Graph -> Graph in a file of its own, in the order of `PASSES`.

A pass never changes the meaning of a tensor's name: it computes the tensor as before, or removes it.
"""

from collections.abc import Callable

from qengine.model.graph import Graph
from qengine.model.passes.activation import activations_of, fuse_activations, split_activations
from qengine.model.passes.chains import fuse_chains
from qengine.model.passes.constants import fold_constants
from qengine.model.passes.conversions import Copies, convert_copies
from qengine.model.passes.dead import remove_dead
from qengine.model.passes.function_recognition import recognise_functions
from qengine.model.passes.gemm import fold_gemm_factors
from qengine.model.passes.hidden_tensors import name_hidden_tensors, with_hidden_outputs
from qengine.model.passes.joins import take_joins_apart
from qengine.model.passes.linear_folding import fold_affine, join_affine
from qengine.model.passes.pad import fold_pads
from qengine.model.passes.quantized_reader import read_quantized
from qengine.model.passes.row_recognition import recognise_rows

PASSES: tuple[Callable[[Graph], Graph], ...] = (
    read_quantized,
    name_hidden_tensors,
    take_joins_apart,
    convert_copies,
    remove_dead,
    fold_constants,
    recognise_rows,
    recognise_functions,
    fold_pads,
    fold_gemm_factors,
    fold_affine,
    join_affine,
    fuse_activations,
    fuse_chains,
    remove_dead,
)

FUSING = (recognise_rows, recognise_functions, join_affine, fuse_chains)
"""Passes that compute several operators as one with one rounding; left out where a device rounds after each operator.

Constants that go into a linear operator, and bounds that are fused, stay: device toolchains do both.
"""

AS_WRITTEN = PASSES.index(take_joins_apart) + 1
"""Place, among the graphs of `optimize`, of the one whose groups of tensors decide what is converted."""


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
        stages.append(rewrite(stages[-1]) if graph.fuses or rewrite not in FUSING else stages[-1])
    if gives_hidden:
        stages[-1] = with_hidden_outputs(stages[-1])
    return tuple(stages)


__all__ = [
    "AS_WRITTEN",
    "FUSING",
    "PASSES",
    "Copies",
    "activations_of",
    "convert_copies",
    "fold_affine",
    "fold_constants",
    "fold_gemm_factors",
    "fold_pads",
    "fuse_activations",
    "fuse_chains",
    "join_affine",
    "name_hidden_tensors",
    "optimize",
    "read_quantized",
    "recognise_functions",
    "recognise_rows",
    "remove_dead",
    "split_activations",
    "take_joins_apart",
    "with_hidden_outputs",
]
