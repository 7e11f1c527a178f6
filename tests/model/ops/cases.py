"""Reference cases: one node, run by qengine, by ONNX Runtime and by onnx.reference, at every opset that differs.

A case runs at each opset where ONNX changed the operator's schema, from 7 on, and at the newest one, as
far as the schema there has the case's attributes, takes its number of inputs, and allows their types. So a
handler that serves a version with the meaning of another fails without a case of its own.
"""

import warnings
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import qengine
from qengine.model.graph import Node
from qengine.model.ops.operator import Operator, find
from qengine.model.steps import Join, Move

NEWEST = onnx.defs.onnx_opset_version()
OLDEST = 7
# Operators that pick and compare: not a bit may differ.
EXACT = {Move, Join}
_FOREIGN = 256  # first of NumPy's numbers of types that are not its own

onnxruntime.set_default_logger_severity(4)


@dataclass(frozen=True)
class Case:
    """One node and its inputs.

    Attributes
    ----------
    operator, inputs, attributes : of the node; None is an input that is left out.
    outputs : how many the node has.
    follows : which of the two is asked where they disagree, or one of them fails; the reason stands beside it.
    expected : the outputs, where neither is right.
    rtol, atol : for float32, unless the operator only picks elements; see `EXACT`.
    opsets : the first and last opset, where the schema alone does not tell.
    domain : domain of the operator.
    """

    operator: str
    inputs: tuple[NDArray[Any] | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    follows: Literal["both", "onnxruntime", "reference"] = "both"
    expected: tuple[NDArray[Any], ...] | None = None
    rtol: float = 1e-5
    atol: float = 1e-6
    opsets: tuple[int, int] = (OLDEST, NEWEST)
    domain: str = ""

    def versions(self) -> list[int]:
        """Return the opsets to run at."""
        usable = [v for v in range(self.opsets[0], self.opsets[1] + 1) if self._fits(v)]
        firsts = {schema(self.operator, v, self.domain).since_version: v for v in reversed(usable)}
        return sorted({*firsts.values(), *usable[-1:]})

    def _fits(self, version: int) -> bool:
        found = schema(self.operator, version, self.domain)
        if found is None or not found.min_input <= len(self.inputs) <= found.max_input:
            return False
        if not set(self.attributes) <= set(found.attributes) or self.outputs > found.max_output:
            return False
        if any(a.required and name not in self.attributes for name, a in found.attributes.items()):
            return False
        for i, array in enumerate(self.inputs):
            formal = found.inputs[min(i, len(found.inputs) - 1)]
            name = helper.np_dtype_to_tensor_dtype(array.dtype) if array is not None else None
            if name is not None and f"tensor({_TYPE[name]})" not in formal.types:
                return False
        return True

    def model(self, version: int, constant: bool) -> tuple[bytes, dict[str, NDArray[Any]]]:
        """Return the model and its feeds; `constant` makes every input but the first an initializer."""
        given = {f"x{i}": a for i, a in enumerate(self.inputs) if a is not None}
        names = [f"x{i}" if a is not None else "" for i, a in enumerate(self.inputs)]
        feeds = {name: a for name, a in given.items() if not constant or name == "x0"}
        outputs = [f"y{i}" for i in range(self.outputs)]
        attributes = {
            k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in self.attributes.items()
        }
        graph = helper.make_graph(
            [helper.make_node(self.operator, names, outputs, name="node", domain=self.domain, **attributes)],
            "case",
            [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for n, a in feeds.items()
            ],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(a, n) for n, a in given.items() if n not in feeds],
        )
        opsets = [helper.make_opsetid(self.domain, version)]
        if self.domain:
            opsets.append(helper.make_opsetid("", NEWEST))
        return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString(), feeds

    def check(self, version: int) -> None:
        """Run at an opset, with inputs fed and with all but the first constant, and compare."""
        handler = find(Node(self.operator, (), (), domain=self.domain, version=version))
        exact = bool(handler.kinds) and set(handler.kinds) <= EXACT
        for constant in {False, len(self.inputs) > 1}:
            model, feeds = self.model(version, constant)
            found = qengine.InferenceSession(model).run(None, feeds)
            for label, wanted in self.references(model, feeds):
                for ours, theirs in zip(found, wanted, strict=True):
                    what = f"{label} at opset {version}{', constant inputs' if constant else ''}"
                    assert ours.dtype == theirs.dtype, what
                    if theirs.dtype.num >= _FOREIGN:  # NumPy does not know what their NaN is
                        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
                    if exact or theirs.dtype.kind != "f":
                        np.testing.assert_array_equal(ours, theirs, what, strict=True)
                    else:
                        assert ours.shape == theirs.shape, what
                        np.testing.assert_allclose(ours, theirs, self.rtol, self.atol, err_msg=what)

    def references(self, model: bytes, feeds: dict[str, NDArray[Any]]) -> list[tuple[str, Any]]:
        """Return what the software that we did not write says."""
        if self.expected is not None:
            return [("by hand", self.expected)]
        found = []
        if self.follows != "reference":
            answer = by_onnxruntime(model, feeds)
            if answer is not None:
                found.append(("ONNX Runtime", answer))
        if self.follows != "onnxruntime":
            found.append(("onnx.reference", by_reference(model, feeds)))
        assert found, "nothing to compare with"
        return found


def by_onnxruntime(model: bytes, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]] | None:
    """Return ONNX Runtime's outputs, None where it has no kernel for the types or does not know the opset yet."""
    arrays = [one for one in feeds.values() if isinstance(one, np.ndarray)]  # others are sequences and maps
    if any(array.dtype.num >= _FOREIGN for array in arrays):  # its Python interface takes no types of ml_dtypes
        return None
    try:
        session = onnxruntime.InferenceSession(model, _OPTIONS, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has no public tree of errors
        if any(why in str(error) for why in ("NOT_IMPLEMENTED", "under development", "not currently registered")):
            return None
        raise
    return session.run(None, feeds)


def by_reference(model: bytes, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Return the outputs of onnx.reference, which warns freely."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, feeds)]


@cache
def schema(operator: str, version: int, domain: str = "") -> onnx.defs.OpSchema | None:
    """Return the schema in force at an opset; None where there is none, or it was deprecated as it was made."""
    try:
        found = onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None
    return None if found.deprecated and operator != "GroupNormalization" else found


def schemas(operator: str) -> list[tuple[int, onnx.defs.OpSchema]]:
    """Return every schema that a model of opset 7 or newer can mean, with the first such opset."""
    first = {}
    for version in range(OLDEST, NEWEST + 1):
        found = schema(operator, version)
        if found is not None:
            first.setdefault(found.since_version, (version, found))
    return list(first.values())


def handler(operator: str, version: int) -> Operator:
    """Return the handler that serves an opset."""
    return find(Node(operator, (), (), version=version))


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return options


_OPTIONS = _options()
_TYPE = {number: onnx.TensorProto.DataType.Name(number).lower() for number in onnx.TensorProto.DataType.values()}


def each(cases: list[Case]) -> dict[str, Any]:
    """Return the arguments of pytest.mark.parametrize that run every case at all its opsets."""
    values = [(case, version) for case in cases for version in case.versions()]
    names = []
    for i, case in enumerate(cases):
        words = [f"{k}={v}" for k, v in case.attributes.items() if not isinstance(v, np.ndarray)]
        label = " ".join([f"{i}-{case.operator}", *words]).replace("[", "").replace("]", "")
        names += [f"{label}-{version}" for version in case.versions()]
    return {"argnames": ("case", "version"), "argvalues": values, "ids": names}


def real(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Return normally distributed float32 numbers."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def f32(*values: Any) -> NDArray[np.float32]:
    """Return a float32 vector."""
    return np.array(values, np.float32)


def i64(*values: int) -> NDArray[np.int64]:
    """Return an int64 vector."""
    return np.array(values, np.int64)


def scalar(value: float, dtype: Any = np.float32) -> NDArray[Any]:
    """Return an array without axes."""
    return np.array(value, dtype)


def half(case: Case, tolerance: float = 2e-3) -> Case:
    """Return a case in float16, whose result is that in float32 rounded once."""
    wide = tuple(a if a is None else a.astype(np.float16).astype(np.float32) for a in case.inputs)
    model, feeds = Case(case.operator, wide, case.attributes).model(NEWEST, constant=False)
    (y,) = qengine.InferenceSession(model).run(None, feeds)
    narrow = tuple(a if a is None else a.astype(np.float16) for a in case.inputs)
    expected = (y.astype(np.float16),)
    return Case(case.operator, narrow, case.attributes, expected=expected, rtol=tolerance, opsets=case.opsets)
