"""Cases of ONNX Runtime's own operators: one node, run by qengine and by ONNX Runtime without optimizations."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import qengine

DOMAIN = "com.microsoft"

onnxruntime.set_default_logger_severity(4)


@dataclass(frozen=True)
class RuntimeCase:
    """One node and its inputs.

    Attributes
    ----------
    operator, inputs, attributes : of the node; None is an input that is left out.
    outputs : whether each output is asked for.
    constants : positions of the inputs that are initializers; None to run with none and with all but the first.
    expected : the outputs, where ONNX Runtime has no kernel on a CPU.
    rtol, atol : for real numbers.
    ties : share of the integers that may differ by 1, where a real number is rounded near a tie.
    domain, opset : domain of the node, and opset of ONNX's own domain.
    """

    operator: str
    inputs: tuple[NDArray[Any] | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[bool, ...] = (True,)
    constants: tuple[int, ...] | None = None
    expected: tuple[NDArray[Any], ...] | None = None
    rtol: float = 1e-5
    atol: float = 1e-5
    ties: float = 0.0
    domain: str = DOMAIN
    opset: int = 17

    def model(self, constants: tuple[int, ...]) -> tuple[bytes, dict[str, NDArray[Any]]]:
        """Return the model and its feeds."""
        names = [f"x{i}" if a is not None else "" for i, a in enumerate(self.inputs)]
        given = {name: a for name, a in zip(names, self.inputs, strict=True) if a is not None}
        stored = {f"x{i}" for i in constants}
        feeds = {name: a for name, a in given.items() if name not in stored}
        outputs = [f"y{i}" if wanted else "" for i, wanted in enumerate(self.outputs)]
        real = helper.np_dtype_to_tensor_dtype(np.dtype(np.float32))
        graph = helper.make_graph(
            [helper.make_node(self.operator, names, outputs, name="node", domain=self.domain, **self.attributes)],
            "case",
            [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for n, a in feeds.items()
            ],
            # ONNX Runtime does not infer the type of the fourth output of MultiHeadAttention.
            [
                helper.make_tensor_value_info(n, real, None) if n == "y3" else onnx.ValueInfoProto(name=n)
                for n in outputs
                if n
            ],
            [numpy_helper.from_array(a, n) for n, a in given.items() if n in stored],
        )
        opsets = [helper.make_opsetid("", self.opset), *([helper.make_opsetid(self.domain, 1)] if self.domain else [])]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString(), feeds

    def check(self) -> None:
        """Run with fed and with constant inputs, and compare."""
        present = tuple(i for i, a in enumerate(self.inputs) if i and a is not None)
        for constants in {(), present} if self.constants is None else {self.constants}:
            model, feeds = self.model(constants)
            found = qengine.InferenceSession(model).run(None, feeds)
            wanted = by_runtime(model, feeds) if self.expected is None else self.expected
            for ours, theirs in zip(found, wanted, strict=True):
                assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
                if theirs.dtype.kind == "f":
                    np.testing.assert_allclose(ours, theirs, self.rtol, self.atol)
                else:
                    difference = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
                    assert difference.max(initial=0) <= (1 if self.ties else 0)
                    assert difference.sum() <= self.ties * difference.size


def by_runtime(model: bytes | str, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Return ONNX Runtime's outputs, on one thread and without optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, feeds)


def each(cases: list[RuntimeCase]) -> dict[str, Any]:
    """Return the arguments of pytest.mark.parametrize that run every case."""
    names = []
    for i, case in enumerate(cases):
        words = [f"{k}={v}" for k, v in case.attributes.items()]
        names.append(" ".join([f"{i}-{case.operator}", *words]).replace("[", "").replace("]", ""))
    return {"argnames": "case", "argvalues": cases, "ids": names}


def refused(case: RuntimeCase, *words: str, error: type[Exception]) -> None:
    """Check that a case is refused in one line with the words, as a model or in the run."""
    present = tuple(i for i, a in enumerate(case.inputs) if i and a is not None)
    model, feeds = case.model(present if case.constants is None else case.constants)
    with pytest.raises(error) as caught:
        qengine.InferenceSession(model).run(None, feeds)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


class Draws:
    """Random arrays, a series of its own for each file of tests."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def real(self, *shape: int) -> NDArray[np.float32]:
        """Return normally distributed float32 numbers."""
        return self.rng.normal(size=shape).astype(np.float32)

    def codes(self, dtype: Any, *shape: int) -> NDArray[Any]:
        """Return integers of all values of a type of 8 or 16 bits."""
        limits = np.iinfo(dtype)
        return self.rng.integers(limits.min, limits.max + 1, shape).astype(dtype)

    def bits(self, *shape: int) -> NDArray[np.int32]:
        """Return ones and zeros, the first of each row one."""
        mask = self.rng.integers(0, 2, shape).astype(np.int32)
        mask[..., 0] = 1
        return mask


def scalar(value: float, dtype: Any = np.float32) -> NDArray[Any]:
    """Return an array without axes."""
    return np.array(value, dtype)
