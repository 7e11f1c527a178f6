"""Lowering of the tree ensembles of ai.onnx.ml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.trees import FOREST, LANES, RESULTS, Choice, Join, Transform, TreeResults, Trees, node_words
from qengine.model.eager.kept import keep
from qengine.model.eager.ml.descent import Descent, descent_of
from qengine.model.eager.ml.ensemble import Ensemble, kept_ensemble
from qengine.model.steps import Evaluated
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer

_ROWS_AT_ONCE = 128
_SCORES_AT_ONCE = 1 << 14
_FEATURES = ("f32", "f64", "i32", "i64")


@dataclass(frozen=True)
class _Tables:
    """A forest as the kernel reads it; see `Trees`."""

    nodes: NDArray[np.int32]
    roots: NDArray[np.int32]
    depths: NDArray[np.int32]
    has_nan: bool


def _tables(descent: Descent, weights: NDArray[Any] | None) -> _Tables:
    """Return the nodes in words; with the weight of each leaf, or with its number for None."""
    count, dtype = len(descent.leaf), descent.threshold.dtype
    words = node_words(dtype.itemsize == 8)
    if count * words > np.iinfo(np.int32).max:
        raise NotLowered(f"{count:,} nodes")
    is_leaf = descent.leaf >= 0
    nodes = np.zeros((count, words), np.int32)
    own = nodes[:, : dtype.itemsize // 4]
    values = descent.threshold.copy()
    if weights is not None:
        values[is_leaf] = weights[descent.leaf[is_leaf]]
    own[:] = values[:, None].view(np.int32)
    if weights is None:
        own[is_leaf, 0] = descent.leaf[is_leaf]
    has_nan, at = bool(descent.nan_is_below.any()), own.shape[1]
    nodes[:, at] = 2 * descent.feature + descent.nan_is_below if has_nan else descent.feature
    nodes[:, at + 1], nodes[:, at + 2] = descent.below * words, descent.above * words
    roots, depths = (descent.roots * words).astype(np.int32), descent.depths.astype(np.int32)
    return _Tables(nodes, roots, depths, has_nan)


def _lower(context: PlainContext[Evaluated]) -> Lowered:
    node, (tensor,) = context.step.evaluation.node, context.step.operands
    x = context.request(tensor)
    if x.stored not in _FEATURES:
        raise NotLowered(f"features of {tensor.dtype}")
    ensemble = kept_ensemble(node)  # float16 features may come as float32 here, which they are computed in
    if ensemble is None or ensemble.forest.weight.dtype != (np.float64 if x.stored == "f64" else np.float32):
        raise NotLowered("trees for features of several types")
    if ensemble.transform == "PROBIT":
        raise NotLowered("the transform PROBIT")
    if ensemble.labels is not None and len(context.outputs) < 2:
        raise NotLowered("labels without scores")
    forest, rows, features = ensemble.forest, context.out.shape[0], tensor.shape[-1]
    needed = int(forest.branches.feature.max(initial=-1)) + 1
    if features < needed or features >= 1 << 30:
        raise NotLowered(f"trees that compare feature {needed - 1} of {features}")
    join = {"MIN": Join.MIN, "MAX": Join.MAX}.get(ensemble.function, Join.ADD)
    is_single = forest.targets == 1 and join == Join.ADD and bool((forest.leaf_count == 1).all())
    weights = forest.weight if is_single else None
    tables = keep(node, ("tables", tensor.dtype), lambda: _tables(descent_of(forest), weights))
    outputs, columns, wide = tuple(TensorBuffer.plain(t) for t in context.outputs), forest.targets, tensor.dtype == "f8"
    stored, out = "f64" if wide else "f32", outputs[-1]
    is_final = ensemble.labels is None and stored == out.stored and (columns < 2 or ensemble.transform == "NONE")
    scores = out if is_final else TensorBuffer.flat("scores", rows * columns, stored)
    given = TensorBuffer.flat("given", 1 if is_single else rows * columns, "u8")
    spec = Trees(x.stored, wide, tables.has_nan, is_single)
    constants = _constants(ensemble, tables)
    names = constants.pop("names")
    block = max(1, min(_ROWS_AT_ONCE, _SCORES_AT_ONCE // columns))
    divisor = len(tables.roots) if ensemble.function == "AVERAGE" else 0
    numbers = {name: int(array.ctypes.data) for name, array in constants.items()}
    numbers |= {"features": features, "columns": columns, "block": block, "count": len(tables.roots)}
    numbers |= {"join": int(join), "divisor": divisor}
    facts = np.array([numbers[name] for name in FOREST], np.int64)

    def search(part: Part) -> dict[str, Address]:
        assert constants  # they live as long as this function
        y, flags = part.outputs
        first, end = part.first * block, min(part.end * block, rows)
        given = {"x": part.inputs[0], "scores": y, "given": flags, "first": first, "end": end}
        return given | {"forest": int(facts.ctypes.data), "scratch": part.scratch}

    work, parts = 4.0 * rows * float(tables.depths.sum()), -(-rows // block)
    op = PlainOp(context.isa, (x,), scores, spec, search, parts, work, (given,), 8 * LANES)
    if is_final:
        return Lowered((op,), outputs)
    choice = Choice.LARGEST if ensemble.column is None else Choice.SECOND
    if ensemble.column == 0:
        choice = Choice.SHARE if ensemble.is_share else Choice.NEGATIVE
    after = {"columns": columns, "names": int(names.ctypes.data), "choice": int(choice), "column": ensemble.column or 0}
    after |= {"transform": int(Transform[ensemble.transform]), "halves": int(2 * ensemble.threshold)}
    after |= {"has_base": int(ensemble.has_base)}
    facts_after = np.array([after[name] for name in RESULTS], np.int64)

    def results(part: Part) -> dict[str, Address]:
        assert len(names)
        sums, flags = part.inputs
        label = part.outputs[1] if len(part.outputs) > 1 else 0
        given = {"scores": sums, "given": flags, "y": part.outputs[0], "label": label}
        return given | {
            "facts": int(facts_after.ctypes.data),
            **{"first": part.first, "end": part.end, "scratch": part.scratch},
        }

    work, spec_after = 60.0 * rows * columns, TreeResults(wide, out.stored)
    last = PlainOp(context.isa, (scores, given), out, spec_after, results, rows, work, outputs[:-1], 8)
    return Lowered((op, last), outputs)


def _constants(ensemble: Ensemble, tables: _Tables) -> dict[str, NDArray[Any]]:
    """Return the arrays that the kernel reads, by argument."""
    forest = ensemble.forest
    leaves = np.stack([forest.leaf_first, forest.leaf_count], axis=1).astype(np.int64)
    names = np.zeros(1, np.int64) if ensemble.labels is None else ensemble.labels
    base = ensemble.base
    if ensemble.column is not None:  # a classifier with a score for one class
        base = np.zeros(forest.targets, base.dtype)
        base[ensemble.column] = ensemble.base[0]
    return {
        "nodes": tables.nodes,
        "roots": tables.roots,
        "depths": tables.depths,
        "leaves": np.ascontiguousarray(leaves),
        "targets": np.ascontiguousarray(forest.target, np.int64),
        "weights": np.ascontiguousarray(forest.weight),
        "base": np.ascontiguousarray(base),
        "names": np.ascontiguousarray(names),
    }


for _name in ("TreeEnsembleRegressor", "TreeEnsembleClassifier", "TreeEnsemble"):
    lowers_plain(Evaluated, _name)(_lower)
