"""Small models of each kind that a report has to show, and what they are run on."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from networks import network, weights
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Kind:
    """A model, its samples by input, and their labels."""

    model: bytes
    samples: dict[str, np.ndarray]
    more: dict[str, np.ndarray] = field(default_factory=dict)

    def written(self, folder: Path) -> tuple[Path, Path]:
        """Write the model and the data, and return their paths."""
        model, data = folder / "model.onnx", folder / "data.npz"
        model.write_bytes(self.model)
        np.savez(data, **self.samples, **self.more)
        return model, data


def classifier(first="r", *, node_name=None):
    """A convolution, a pool and scores; the first tensor has any name."""
    model = onnx.load_from_string(
        network(
            [
                ("Conv", "x w", "c", {"pads": [1, 1, 1, 1]}),
                ("Relu", "c", "r"),
                ("GlobalAveragePool", "r", "p"),
                ("Flatten", "p", "f"),
                ("Gemm", "f v b", "scores"),
            ],
            inputs={"x": ["N", 3, 8, 8]},
            outputs=["scores"],
            constants={"w": weights(6, 3, 3, 3), "v": weights(6, 4, seed=3), "b": weights(4, seed=4)},
        )
    )
    for node in model.graph.node:
        node.input[:] = [first if name == "r" else name for name in node.input]
        node.output[:] = [first if name == "r" else name for name in node.output]
    if node_name is not None:
        model.graph.node[1].name = node_name
    labels = np.arange(12, dtype=np.int64) % 4
    return Kind(model.SerializeToString(), {"x": np.abs(weights(12, 3, 8, 8, seed=1))}, {"labels": labels})


def super_resolution():
    """Pictures that become larger."""
    model = network(
        [
            ("Conv", "x w", "c", {"pads": [1, 1, 1, 1]}),
            ("Relu", "c", "r"),
            ("Conv", "r v", "u", {"pads": [1, 1, 1, 1]}),
            ("DepthToSpace", "u", "y", {"blocksize": 2}),
        ],
        inputs={"x": ["N", 3, 12, 10]},
        constants={"w": weights(8, 3, 3, 3), "v": weights(12, 8, 3, 3, seed=2, scale=0.1)},
    )
    return Kind(model, {"x": np.abs(weights(3, 3, 12, 10, seed=1))})


def detector():
    """Boxes and scores from one trunk, and the best boxes, whose number the data decides."""
    model = network(
        [
            ("Conv", "x w", "c"),
            ("Relu", "c", "r"),
            ("Conv", "r v", "boxes"),
            ("Conv", "r u", "logits"),
            ("Sigmoid", "logits", "scores"),
            ("Reshape", "boxes four", "flat"),
            ("Transpose", "flat", "corners", {"perm": [0, 2, 1]}),
            ("Reshape", "scores two", "classes"),
            ("NonMaxSuppression", "corners classes most iou least", "chosen"),
        ],
        inputs={"x": [1, 3, 8, 8]},
        outputs=["boxes", "scores", "chosen"],
        constants={
            "w": weights(4, 3, 3, 3),
            "v": weights(4, 4, 1, 1, seed=2),
            "u": weights(2, 4, 1, 1, seed=3),
            "four": np.int64([1, 4, -1]),
            "two": np.int64([1, 2, -1]),
            "most": np.int64([3]),
            "iou": np.float32([0.5]),
            "least": np.float32([0.1]),
        },
    )
    return Kind(model, {"x": weights(3, 3, 8, 8, seed=1)})


def lstm():
    """A recurrent layer and scores of the last step."""
    model = network(
        [("LSTM", "x w r", "h last", {"hidden_size": 5}), ("Squeeze", "last zero", "s"), ("MatMul", "s v", "scores")],
        inputs={"x": [7, 2, 3]},
        outputs=["scores"],
        constants={
            "w": weights(1, 20, 3),
            "r": weights(1, 20, 5, seed=2),
            "zero": np.int64([0]),
            "v": weights(5, 4, seed=3),
        },
    )
    return Kind(model, {"x": weights(14, 2, 3, seed=1)})


def transformer():
    """Attention of one head with a residual and a normalization."""
    model = network(
        [
            ("MatMul", "x wq", "q"),
            ("MatMul", "x wk", "k"),
            ("MatMul", "x wv", "v"),
            ("Transpose", "k", "kt", {"perm": [0, 2, 1]}),
            ("MatMul", "q kt", "a"),
            ("Softmax", "a", "p"),
            ("MatMul", "p v", "o"),
            ("Add", "o x", "s"),
            ("LayerNormalization", "s g b", "y"),
        ],
        inputs={"x": ["N", 6, 8]},
        constants={
            "wq": weights(8, 8),
            "wk": weights(8, 8, seed=2),
            "wv": weights(8, 8, seed=3),
            "g": np.ones(8, np.float32),
            "b": np.zeros(8, np.float32),
        },
    )
    return Kind(model, {"x": weights(4, 6, 8, seed=1)})


def control_flow():
    """An If whose branch the data decides, and a Loop."""
    info = helper.make_tensor_value_info
    empty = helper.make_empty_tensor_value_info

    def branch(factor):
        held = numpy_helper.from_array(np.float32(factor), "factor")
        return helper.make_graph([helper.make_node("Mul", ["r", "factor"], ["m"])], "branch", [], [empty("m")], [held])

    body = helper.make_graph(
        [helper.make_node("Mul", ["s", "half"], ["t"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("s", TensorProto.FLOAT, None)],
        [info("d", TensorProto.BOOL, []), info("t", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("ReduceSum", ["r"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "limit"], ["is_large"]),
        helper.make_node("If", ["is_large"], ["z"], then_branch=branch(0.5), else_branch=branch(2.0)),
        helper.make_node("Loop", ["three", "", "z"], ["y"], body=body),
    ]
    constants = {"limit": np.float32(6.0), "three": np.int64(3), "half": np.float32(0.5)}
    graph = helper.make_graph(
        nodes,
        "decides",
        [info("x", TensorProto.FLOAT, [1, 12])],
        [empty("y")],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Kind(model.SerializeToString(), {"x": weights(4, 12, seed=1, scale=1.0)})


def deep(nodes=1000):
    """A chain of many nodes with additions over some of them."""
    spelled, last = [], "x"
    for i in range(nodes // 2):
        spelled += [("Relu", last, f"a{i}"), ("Add", f"a{i} c{i}", f"b{i}")]
        last = f"b{i}"
    constants = {f"c{i}": weights(4, seed=i, scale=0.05) for i in range(nodes // 2)}
    model = network(spelled, inputs={"x": [1, 4]}, outputs=[last], constants=constants)
    return Kind(model, {"x": weights(2, 4, seed=1)})


KINDS = {
    "classifier": classifier,
    "super_resolution": super_resolution,
    "detector": detector,
    "lstm": lstm,
    "transformer": transformer,
    "control_flow": control_flow,
}
