"""Table of the operators that evaluators compute: variants that the tests try, and what onnx.reference makes of them.

    python tests/operator_table.py                    # all tests of evaluators
    python tests/operator_table.py -k recurrent       # arguments of pytest

Every call of an evaluator by a test counts once for each opset, set of attributes, and shape and type of the inputs.
The same node and inputs are then given to onnx.reference: its result is the same, differs (so that ours mends it), or
it fails. Calls that an evaluator refuses are counted too. The tests themselves compare ours with ONNX Runtime, torch or
NumPy; this table tells how much would be wrong without the evaluators.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from qengine.errors import QEngineError
from qengine.model.eager.evaluator import Evaluator
from qengine.model.protos import attribute_proto

HERE = Path(__file__).parent
_NEWEST = onnx.defs.onnx_opset_version()
_LARGEST = 1 << 16
"""Elements of the largest input and result that are given to onnx.reference, which may take minutes for more."""


class Recorder:
    """Counts of variants by operator, filled while tests run."""

    def __init__(self):
        self.counts = defaultdict(Counter)
        self._seen = set()

    def record(self, one, node, inputs, outputs):
        """Count one call; `outputs` is None where the evaluator refused it."""
        key = (node.domain, node.operator, node.version, repr(sorted(node.attributes.items(), key=str)), form(inputs))
        if key in self._seen:
            return
        self._seen.add(key)
        counts = self.counts[one.domain, one.name]
        counts["tried"] += 1
        counts["refused" if outputs is None else by_reference(node, inputs, outputs)] += 1


def form(values):
    """Return what tells variants apart: types, shapes, and whether an input is there."""
    return tuple(
        (str(v.dtype), v.shape) if isinstance(v, np.ndarray) else type(v).__name__ if v is not None else None
        for v in values
    )


def by_reference(node, inputs, outputs):
    """Return "same", "differs" or "fails": what onnx.reference makes of a node."""
    arrays = [v for v in (*inputs, *outputs) if isinstance(v, np.ndarray)]
    numbers = [n for v in node.attributes.values() for n in (v if isinstance(v, tuple) else (v,)) if isinstance(n, int)]
    if any(a.size > _LARGEST for a in arrays) or any(abs(n) > _LARGEST for n in numbers):
        return "not asked"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            theirs = reference(node, inputs)
        return "same" if all(map(same, outputs, theirs)) else "differs"
    except Exception:  # it has no list of what it raises
        return "fails"


def reference(node, inputs):
    """Return the outputs of onnx.reference."""
    names = [f"x{i}" if v is not None else "" for i, v in enumerate(inputs)]
    outputs = [f"y{i}" if name else "" for i, name in enumerate(node.outputs)]
    proto = helper.make_node(node.operator, names, outputs, domain=node.domain)
    proto.attribute.extend(attribute_proto(node, name, value) for name, value in node.attributes.items())
    infos = [helper.make_value_info(n, kind(v)) for n, v in zip(names, inputs, strict=True) if n]
    results = [onnx.ValueInfoProto(name=name) for name in outputs if name]
    opsets = [helper.make_opsetid(node.domain, node.version)]
    opsets += [helper.make_opsetid("", _NEWEST)] * bool(node.domain)
    model = helper.make_model(helper.make_graph([proto], "node", infos, results), opset_imports=opsets, ir_version=10)
    found = iter(ReferenceEvaluator(model).run(None, {n: v for n, v in zip(names, inputs, strict=True) if n}))
    return [next(found) if name else None for name in outputs]


def kind(value):
    """Return the TypeProto of an input."""
    if isinstance(value, list):
        return helper.make_sequence_type_proto(kind(value[0]))
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim)


def same(ours, theirs):
    """Whether two outputs are equal, real numbers within a tolerance."""
    if ours is None or theirs is None:
        return ours is theirs
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    theirs = np.asarray(theirs)
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return ours.dtype.kind == "O" and theirs.dtype.kind == "U" and ours.tolist() == theirs.tolist()
    if ours.dtype.kind not in "fcV":
        return bool(np.array_equal(ours, theirs))
    loose = 1e-2 if ours.dtype.itemsize < 4 else 1e-4
    wide = np.complex128 if ours.dtype.kind == "c" else np.float64
    return np.allclose(ours.astype(wide), theirs.astype(wide), loose, loose, equal_nan=True)


def main(arguments):
    """Run the tests with a recorder, and print the table; return the exit status of pytest."""
    recorder = Recorder()
    compute = Evaluator.compute

    def recording(self, node, inputs):
        try:
            outputs = compute(self, node, inputs)
        except QEngineError:
            recorder.record(self, node, inputs, None)
            raise
        recorder.record(self, node, inputs, outputs)
        return outputs

    Evaluator.compute = recording
    os.chdir(HERE.parent)
    status = pytest.main(["-q", "-p", "no:cacheprovider", "tests/model/eager", *arguments])
    columns = ("tried", "same", "differs", "fails", "not asked", "refused")
    print(f"| operator | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    total = Counter()
    for (domain, name), counts in sorted(recorder.counts.items()):
        label = f"{domain}.{name}" if domain else name
        print(f"| {label} | {' | '.join(str(counts[c]) for c in columns)} |")
        total.update(counts)
    print(f"| {len(recorder.counts)} operators | {' | '.join(str(total[c]) for c in columns)} |")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
