"""Small models with names, open shapes and operators that the files around a network in C must cope with."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def classifier(softmax=True, batch="N"):
    """Return a convolution, a pool and a dense layer, with names that are no identifiers."""
    random = np.random.default_rng(0)
    weights = {
        "conv.w": random.normal(0, 0.4, (4, 2, 3, 3)).astype(np.float32),
        "conv.b": random.normal(0, 0.2, 4).astype(np.float32),
        "fc.w": random.normal(0, 0.3, (36, 5)).astype(np.float32),
        "fc.b": random.normal(0, 0.3, 5).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["net_image", "conv.w", "conv.b"], ["a/conv"], "first conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a/conv"], ["a/relu"], "relu"),
        helper.make_node("MaxPool", ["a/relu"], ["pool*/out"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool*/out"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["logits"], "fc"),
    ]
    nodes += [helper.make_node("Softmax", ["logits"], ["probabilities"], "soft")] if softmax else []
    return _model(nodes, weights, {"net_image": [batch, 2, 6, 6]}, {nodes[-1].output[0]: [batch, 5]})


def functions(name="x", shape=("N", 3, 4)):
    """Return two functions of one variable with a tensor of their own between them."""
    nodes = [
        helper.make_node("Sigmoid", [name], ["s"], "sigmoid"),
        helper.make_node("Transpose", ["s"], ["t"], "turn", perm=[0, 2, 1]),
        helper.make_node("Tanh", ["t"], ["y"], "tanh"),
    ]
    return _model(nodes, {}, {name: shape}, {"y": [shape[0], shape[2], shape[1]]})


def _model(nodes, constants, inputs, outputs):
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
