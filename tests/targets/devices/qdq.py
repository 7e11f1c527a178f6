"""A network with QuantizeLinear and DequantizeLinear behind every tensor, run by ONNX Runtime."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from targets.devices.network import OPERATORS


def as_qdq(network, constants):
    """Return a network as a model of codes: weights, biases and the results of every node are integers.

    Parameters
    ----------
    network : the network.
    constants : codes of weights and biases by name.
    """
    nodes, initializers, real, codes = [], [], {}, {}

    def scale(name, fraction):
        initializers.append(numpy_helper.from_array(np.float32(2.0 ** -np.float64(fraction)), f"{name}_scale"))
        return f"{name}_scale"

    def zero(name, fmt):
        dtype = np.dtype(f"{'' if fmt.signed else 'u'}int{8 if fmt.bits <= 8 else 16}")
        initializers.append(numpy_helper.from_array(np.zeros((), dtype), f"{name}_zero"))
        return f"{name}_zero"

    def quantize(name, source, fmt):
        s, z = scale(name, fmt.fraction), zero(name, fmt)
        codes[name], real[name] = f"{name}_codes", f"{name}_real"
        nodes.append(helper.make_node("QuantizeLinear", [source, s, z], [codes[name]]))
        nodes.append(helper.make_node("DequantizeLinear", [codes[name], s, z], [real[name]]))

    for name in network.inputs:
        quantize(name, name, network.formats[name])
    graph = network.as_onnx().graph
    for node, proto in zip(network.nodes, graph.node, strict=True):
        x_fraction = network.formats[node.inputs[0]].fraction
        names = [real[n] for n in node.inputs]
        for suffix in ("w", "b"):
            name = f"{node.output}_{suffix}"
            if name in constants:
                w_fmt = network.formats[f"{node.output}_w"]
                first = w_fmt[0] if isinstance(w_fmt, list) else w_fmt
                fraction = np.array([f.fraction for f in w_fmt]) if isinstance(w_fmt, list) else w_fmt.fraction
                fraction = fraction + (x_fraction if suffix == "b" else 0)
                dtype = np.int32 if suffix == "b" else np.int8 if first.bits <= 8 else np.int16
                initializers.append(numpy_helper.from_array(constants[name].astype(dtype), f"{name}_codes"))
                pair = [f"{name}_codes", scale(name, fraction)]
                nodes.append(helper.make_node("DequantizeLinear", pair, [f"{name}_real"], axis=0))
                names.append(f"{name}_real")
        new = helper.make_node(OPERATORS[node.kind], names, [node.output])
        new.attribute.extend(proto.attribute)
        nodes.append(new)
        quantize(node.output, node.output, network.formats[node.output])
    outputs = []
    for node in network.nodes:
        fmt = network.formats[node.output]
        kind = getattr(TensorProto, f"{'' if fmt.signed else 'U'}INT{8 if fmt.bits <= 8 else 16}")
        outputs.append(helper.make_tensor_value_info(codes[node.output], kind, None))
    made = helper.make_graph(nodes, "qdq", graph.input, outputs, initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(network, feeds, constants, optimized):
    """Return the codes of every node's output by ONNX Runtime, with or without its fused integer kernels."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    model = as_qdq(network, constants)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = {name: np.float32(codes * 2.0 ** -network.formats[name].fraction) for name, codes in feeds.items()}
    return dict(zip([node.output for node in network.nodes], session.run(None, values), strict=True))
