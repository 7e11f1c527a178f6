"""Small models, spelled in a few words, and what ONNX Runtime makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper


def network(
    nodes: Sequence[tuple[Any, ...]],
    *,
    inputs: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    constants: Mapping[str, Any] | None = None,
    overridable: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
    opset: int = 17,
) -> bytes:
    """Return the bytes of a model.

    Parameters
    ----------
    nodes : (operator, "names of inputs", "names of outputs", optional attributes); "-" is one that is left out, and
        "my.domain.Name" an operator of a domain of its own, whose opset is 1.
    inputs : by name a shape, or (dtype, shape); "x" of [1, 3, 6, 5] by default.
    outputs : names.
    constants : by name what `np.asarray` takes; Python's real numbers are float32.
    overridable : constants that are inputs too.
    values : dtypes and shapes that are declared beside, of outputs too.
    """
    given = {"x": [1, 3, 6, 5]} if inputs is None else inputs
    arrays = {name: _array(value) for name, value in (constants or {}).items()}
    declared = dict(values or {})
    graph = helper.make_graph(
        [_node(*spelled) for spelled in nodes],
        "network",
        [_info(name, spec) for name, spec in given.items()]
        + [_info(name, (arrays[name].dtype, arrays[name].shape)) for name in overridable],
        [_info(name, declared.pop(name, None)) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        value_info=[_info(name, spec) for name, spec in declared.items()],
    )
    domains = sorted({spelled[0].rpartition(".")[0] for spelled in nodes} - {""})
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return model.SerializeToString()


def _node(operator: str, inputs: str, outputs: str, attributes: Mapping[str, Any] | None = None) -> onnx.NodeProto:
    names = [["" if name == "-" else name for name in spelled.split()] for spelled in (inputs, outputs)]
    given = {
        key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for key, value in (attributes or {}).items()
    }
    domain, _, name = operator.rpartition(".")
    return helper.make_node(name, *names, name=f"the_{names[1][0]}", domain=domain, **given)


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    typed = isinstance(value, np.ndarray | np.generic) or array.dtype.kind != "f"
    return array if typed else array.astype(np.float32)


def _info(name: str, spec: Any) -> onnx.ValueInfoProto:
    if spec is None:
        return helper.make_empty_tensor_value_info(name)
    dtype, shape = spec if isinstance(spec, tuple) else (np.float32, spec)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def run_onnxruntime(model: bytes, feeds: Mapping[str, Any], names: Sequence[str] | None = None) -> list[np.ndarray]:
    """Return what ONNX Runtime gives for the outputs, or for any tensors of the model."""
    proto = onnx.load_from_string(model)
    declared = {output.name for output in proto.graph.output}
    asked = names or [output.name for output in proto.graph.output]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in asked if n not in declared)
    session = onnxruntime_session(proto.SerializeToString())
    return session.run(list(asked), dict(feeds))


def onnxruntime_session(model: bytes | str) -> onnxruntime.InferenceSession:
    """Return a session that is quiet and computes node by node."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def weights(*shape: int, seed: int = 7, scale: float = 0.5) -> np.ndarray:
    """Return float32 numbers of both signs, most of them below 1."""
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)
