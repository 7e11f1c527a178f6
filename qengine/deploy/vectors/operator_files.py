"""The operators of a pack: their constants, accumulators and vectors as files, and their descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.vectors.describe import (
    activation_of,
    attributes_of,
    format_as_json,
    macs_of,
    plain,
    rounding_constants,
    shifts_of,
    window_of,
)
from qengine.deploy.vectors.files import Files, Kind
from qengine.deploy.vectors.layout import Layout
from qengine.deploy.vectors.operator_vectors import OperatorVector
from qengine.deploy.vectors.record import Operator
from qengine.deploy.vectors.sums import Sums, sums_of
from qengine.kernels.reference.resize import integer_taps
from qengine.model.steps import Linear, Resize, Table, Tensor
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.bias import bias_fraction_bits
from qengine.qformat import QFormat

if TYPE_CHECKING:
    from qengine.deploy.vectors.manifest import Vectors

Array = NDArray[Any]

_PLAIN_ORDER = Layout("nchw")


class OperatorFiles:
    """The operators of a pack."""

    def __init__(self, vectors: Vectors, files: Files) -> None:
        self._vectors, self._files = vectors, files
        self.notes: list[str] = []

    def add(self, run: str, arrays: Mapping[str, Array]) -> None:
        """Write the accumulators of a run."""
        for operator in self._vectors.recorder.operators:
            if operator.bound_step is None or not self._vectors.is_wanted(operator.output.name):
                continue
            sums = sums_of(operator.bound_step, operator.operands(arrays))
            self._write_sums(f"acc/{run}/{operator.name}", operator, sums)

    def described(self) -> list[dict[str, Any]]:
        """Write the constants and the vectors of all operators, and return their descriptions."""
        return [self._described(operator) for operator in self._vectors.recorder.operators]

    def _described(self, operator: Operator) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": operator.name,
            "node": operator.title,
            "operator": operator.operator,
            "kind": operator.kind,
            "inputs": list(operator.reads),
            "output": operator.output.name,
        }
        bound_step = operator.bound_step
        if bound_step is None:
            self.notes.append(f"operator '{operator.title}' ({operator.operator}) runs by itself and has no vectors")
            return found
        found["inputs"] = [t.name for t in bound_step.step.operands]
        found["attributes"] = attributes_of(bound_step.node)
        found["window"] = window_of(operator)
        if bound_step.is_island:
            found["float"] = True
        arithmetic = bound_step.arithmetic
        if arithmetic is None:
            return found
        sums = self._example(operator)
        shift = shifts_of(sums)
        found["rules"] = plain(arithmetic)
        found["activation"] = activation_of(operator)
        found["macs"] = macs_of(operator)
        found["shift"] = shift
        found["rounding_constants"] = rounding_constants(arithmetic.rounding, shift) if isinstance(shift, int) else None
        found["accumulator"] = self._accumulator(operator, sums)
        found["constants"] = self._constants(operator, shift)
        by_data, by_edges, by_operators = (shown.get(operator.name, {}) for shown in self._vectors.shown)
        found["coverage"] = {"data": by_data, "with_edges": by_edges, "operator_vectors": by_operators}
        reach = self._vectors.reach[operator.name]
        found["impossible"] = reach.impossible
        found["not_reached"] = [
            goal for goal in reach.goals if not any(shown.get(goal) for shown in (by_data, by_edges, by_operators))
        ]
        vectors = self._vectors.single.get(operator.name, [])
        if vectors and self._vectors.is_wanted(operator.output.name):
            found["vectors"] = [self._vector(operator, i, one) for i, one in enumerate(vectors)]
        return found

    def _example(self, operator: Operator) -> Sums | None:
        """Return the exact numbers of an operator on inputs that are all 0."""
        bound_step = operator.bound_step
        assert bound_step is not None
        operands = []
        for t in bound_step.step.operands:
            if t.value is not None:
                operands.append(t.elements)
            else:
                operands.append(np.zeros(t.shape, t.dtype if t.format is None else t.format.dtype))
        return sums_of(bound_step, operands)

    def _accumulator(self, operator: Operator, sums: Sums | None) -> dict[str, Any] | None:
        if sums is None:
            return None
        reach = self._vectors.reach[operator.name]
        n = np.asarray(sums.fraction_bits).reshape(-1)
        return {
            "fraction_bits": int(n[0]) if n.size == 1 else n.tolist(),
            "least": reach.least,
            "most": reach.most,
            "bits": reach.bits,
        }

    def _constants(self, operator: Operator, shift: Any) -> dict[str, Any]:
        """Write what an operator holds: weights, bias, shifts of channels, a table, taps."""
        bound_step = operator.bound_step
        assert bound_step is not None
        assert bound_step.arithmetic is not None
        step, found = bound_step.step, {}
        for place, t in enumerate(step.operands):
            if t.value is None or (isinstance(step, Linear) and place == 2):
                continue
            role = ("input", "weights")[place] if isinstance(step, Linear) else f"operand{place}"
            found[role] = self._constant(operator, role, t.name, t.elements, t)
        if isinstance(step, Linear):
            found |= self._bias(operator, step)
        if isinstance(shift, list):
            found["shift"] = self._constant(operator, "shift", "shift", np.array(shift, np.int64), None)
        if isinstance(step, Table) and isinstance(bound_step.output.format, QFormat):
            entries = step.table(bound_step.output, bound_step.arithmetic)[0]
            found["table"] = self._constant(operator, "table", "table", entries, bound_step.output)
            found["table"]["first_code"] = step.x.one_format.word().least
        if isinstance(step, Resize) and step.mode != "nearest":
            for axis, taps in zip(step.axes, step.taps(), strict=True):
                whole = integer_taps(taps, step.tap_bits)
                for what, array in (("index", whole.index), ("weight", whole.weight)):
                    role = f"taps_{what}_axis{axis.axis}"
                    found[role] = self._constant(operator, role, role, array.astype(np.int64), None)
        return found

    def _bias(self, operator: Operator, step: Linear) -> dict[str, Any]:
        """Write a constant bias with the fraction bits of the sums, and in its own word where that is another."""
        assert operator.bound_step is not None
        assert operator.bound_step.arithmetic is not None
        rules, b = Accumulation(step, operator.output, operator.bound_step.arithmetic), step.b
        if b is None or rules.bias is None:
            return {}
        array = _narrow(rules.bias)
        assert array is not None
        found = {"bias": self._constant(operator, "bias", b.name, array, None)}
        sums = np.asarray(rules.product_bits)
        if b.format is not None:
            found["bias_word"] = self._constant(operator, "bias_word", b.name, b.codes, b)
            return found
        own = np.asarray(bias_fraction_bits(b, rules.bias_bits, rules.bias_rule))
        if np.any(own != sums):
            codes = _narrow(np.asarray(array.astype(object) >> (sums - own).astype(object)))
            assert codes is not None
            found["bias_word"] = self._constant(operator, "bias_word", b.name, codes, None)
            found["bias_word"]["fraction_bits"] = int(own.reshape(-1)[0]) if own.size == 1 else own.reshape(-1).tolist()
        return found

    def _constant(self, operator: Operator, role: str, name: str, array: Array, t: Tensor | None) -> dict[str, Any]:
        fmt = None if t is None else t.format
        stem = f"w/{operator.name}_{role}"
        kind = Kind.of(array, fmt)
        layout = self._files.options.order() if role == "weights" else _PLAIN_ORDER
        self._files.write(stem, name, array, kind, layout)
        return {
            "tensor": name,
            "file": stem,
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "bits": kind.bits or None,
            **format_as_json(fmt),
            "order": layout.describe(array.ndim),
        }

    def _vector(self, operator: Operator, number: int, vector: OperatorVector) -> dict[str, Any]:
        """Write one vector of an operator."""
        bound_step = operator.bound_step
        assert bound_step is not None
        folder = f"op/{operator.name}/v{number}"
        inputs = []
        for place, (t, array) in enumerate(zip(bound_step.step.operands, vector.operands, strict=True)):
            if t.value is None:
                self._files.write(f"{folder}/in{place}", t.name, array, Kind.of(array, t.format))
                inputs.append({"operand": place, "tensor": t.name, "file": f"{folder}/in{place}"})
        out = bound_step.output
        self._files.write(f"{folder}/out", out.name, vector.output, Kind.of(vector.output, out.format))
        found = {"name": f"v{number}", "source": vector.source, "inputs": inputs, "output": f"{folder}/out"}
        if self._vectors.options.accumulators:
            sums = sums_of(bound_step, vector.operands)
            if self._write_sums(f"{folder}/acc", operator, sums):
                found["accumulators"] = f"{folder}/acc"
        return found

    def _write_sums(self, stem: str, operator: Operator, sums: Sums | None) -> bool:
        array = None if sums is None else _narrow(sums.accumulators)
        if array is None:
            if sums is not None:
                note = f"accumulators of '{operator.title}' do not fit 64 bits and are left out"
                self.notes += [] if note in self.notes else [note]
            return False
        self._files.write(stem, f"accumulators of {operator.title}", array, Kind.of(array, None))
        return True


def _narrow(array: Array) -> Array | None:
    """Return integers as int32, or else as int64; None where they fit neither."""
    least, most = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for dtype in (np.int32, np.int64):
        if np.iinfo(dtype).min <= least and most <= np.iinfo(dtype).max:
            return np.asarray(array.astype(dtype))
    return None
