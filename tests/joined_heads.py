"""Networks that join tensors of very different ranges: boxes up to hundreds and scores up to 1."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from networks import network, weights
from onnx import helper, numpy_helper

_WEIGHTS = {
    "W": weights(4, 3, 1, 1, seed=1, scale=100),  # of boxes b
    "V": weights(2, 3, 1, 1, seed=2),  # of scores s
    "U": weights(4, 3, 1, 1, seed=3, scale=0.1),
}
_BOTH = [("Conv", "x W", "b"), ("Conv", "x V", "v"), ("Sigmoid", "v", "s")]
CAT = ("Concat", "b s", "cat", {"axis": 1})
_I = {f"i{n}": np.array([n], np.int64) for n in (0, 1, 2, 3, 4, 5, 6)} | {"m1": np.array([-1], np.int64)}
SAMPLES = [np.random.default_rng(i).normal(size=(1, 3, 6, 5)).astype(np.float32) for i in range(4)]
FEEDS = [{"x": x} for x in SAMPLES]


def whole(*integers: int) -> np.ndarray:
    """Return an array of int64."""
    return np.array(integers, np.int64)


@dataclass(frozen=True)
class Head:
    """The end of a network, after boxes b (1, 4, 6, 5) and scores s (1, 2, 6, 5).

    Attributes
    ----------
    nodes : nodes of the end.
    small : function that picks what is small from the outputs.
    outputs : names.
    constants : further constants.
    """

    nodes: list[tuple[Any, ...]]
    small: Any
    outputs: tuple[str, ...] = ("y",)
    constants: dict[str, Any] = field(default_factory=dict)

    def model(self) -> bytes:
        """Return the bytes of the network."""
        read = {name for node in [*_BOTH, *self.nodes] for name in node[1].split()}
        known = {**_WEIGHTS, **_I, **self.constants}
        constants = {name: value for name, value in known.items() if name in read}
        return network([*_BOTH, *self.nodes], constants=constants, outputs=self.outputs)


def _scores(outputs):
    return outputs[0][:, 4:]


def _second(outputs):
    return outputs[1]


_TWO = ("y", "z")
_ROWS = {"r": whole(1, 6, -1)}

APART = {
    "an output": Head([("Concat", "b s", "y", {"axis": 1})], _scores),
    "a view of an output": Head([CAT, ("Identity", "cat", "y")], _scores),
    "transposed": Head(
        [
            ("Reshape", "b r4", "br"), ("Reshape", "s r2", "sr"), ("Concat", "br sr", "cat", {"axis": 1}),
            ("Transpose", "cat", "y", {"perm": [0, 2, 1]}),
        ],
        lambda found: found[0][:, :, 4:],
        constants={"r4": whole(1, 4, -1), "r2": whole(1, 2, -1)},
    ),
    "flattened": Head([CAT, ("Flatten", "cat", "y")], lambda found: found[0][:, 120:]),
    "bounded": Head([CAT, ("Relu", "cat", "y")], _scores),
    "clipped": Head([CAT, ("Clip", "cat low", "y")], _scores, constants={"low": 0.25}),
    "with an axis more": Head([CAT, ("Unsqueeze", "cat i1", "y")], lambda found: found[0][:, :, 4:]),
    "sliced": Head(
        [CAT, ("Reshape", "cat r", "c"), ("Slice", "c i0 i4 i1", "y"), ("Slice", "c i4 i6 i1", "z")],
        _second, _TWO, _ROWS,
    ),
    "sliced within parts": Head([CAT, ("Slice", "cat i3 i5 i1", "y"), ("Slice", "cat i5 i6 i1", "z")], _second, _TWO),
    "split": Head(
        [CAT, ("Reshape", "cat r", "c"), ("Split", "c parts", "y z", {"axis": 1})],
        _second, _TWO, {**_ROWS, "parts": whole(4, 2)},
    ),
    "gathered": Head(
        [CAT, ("Reshape", "cat r", "c"), ("Gather", "c g", "y", {"axis": 1}), ("Gather", "c h", "z", {"axis": 1})],
        _second, _TWO, {**_ROWS, "g": whole(0, 2, 3), "h": whole(5, -2)},
    ),
    "joined again": Head(
        [("Concat", "b s", "cat", {"axis": 1}), ("Conv", "x U", "t"), ("Concat", "cat t", "y", {"axis": 1})], _scores
    ),
    "joined along another axis": Head(
        [
            CAT, ("Neg", "b", "n"), ("Concat", "n s", "dog", {"axis": 1}), ("Concat", "cat dog", "y", {"axis": 2}),
        ],
        _scores,
    ),
    "with a constant": Head(
        [("Concat", "b k s", "y", {"axis": 1})], _scores, constants={"k": np.full((1, 1, 6, 5), 0.37, np.float32)}
    ),
    "stacked": Head(
        [
            ("ReduceMax", "b", "p", {"axes": [1, 2, 3], "keepdims": 0}),
            ("ReduceMax", "s", "q", {"axes": [1, 2, 3], "keepdims": 0}),
            ("Unsqueeze", "p m1", "p1"), ("Unsqueeze", "q m1", "q1"), ("Concat", "p1 q1", "y", {"axis": -1}),
        ],
        lambda found: found[0][:, 1],
    ),
    "padded": Head(
        [("Pad", "s pads", "p"), ("Concat", "b p", "y", {"axis": 1})],
        _scores,
        constants={"pads": whole(0, 1, 0, 0, 0, 1, 0, 0)},
    ),
    "computed after a split": Head(
        [
            CAT, ("Split", "cat parts", "bb ss", {"axis": 1}), ("Mul", "bb two", "b2"),
            ("Concat", "b2 ss", "y", {"axis": 1}),
        ],
        _scores,
        constants={"parts": whole(4, 2), "two": 2.0},
    ),
    "two outputs": Head(
        [("Concat", "b s", "y", {"axis": 1}), ("Transpose", "y", "z", {"perm": [0, 2, 3, 1]})],
        lambda found: np.stack([found[0][:, 4:].ravel(), np.moveaxis(found[1], 3, 1)[:, 4:].ravel()]), _TWO,
    ),
    "two joins": Head(
        [("Concat", "b s", "y", {"axis": 1}), ("Concat", "s b", "z", {"axis": 1})],
        lambda found: np.stack([found[0][:, 4:], found[1][:, :2]]), _TWO,
    ),
}  # fmt: skip
"""Heads whose parts keep formats of their own."""

WHOLE = {
    "also computed with": Head(
        [("Concat", "b s", "y", {"axis": 1}), ("Conv", "y v6", "z")], _scores, _TWO, {"v6": weights(2, 6, 1, 1, seed=5)}
    ),
    "padded whole": Head([CAT, ("Pad", "cat pads", "y")], _scores, constants={"pads": whole(0, 0, 1, 0, 0, 0, 1, 0)}),
    "repeated": Head([CAT, ("Tile", "cat t", "y")], _scores, constants={"t": whole(1, 1, 2, 1)}),
    "where": Head(
        [("Slice", "b i0 i2 i1", "bb"), ("Where", "m bb s", "y")],
        lambda found: found[0][:, :, 1::2],
        constants={"m": np.arange(6).reshape(1, 1, 6, 1) % 2 == 0},
    ),
}
"""Heads whose join has one format, of 16 bits as the small part would lose its signal in 8."""


def _graph(name, inputs, nodes, outputs):
    """Return a graph inside of a node; what it reads beside its inputs is captured."""
    made = [[helper.make_tensor_value_info(n, kind, None) for n, kind in ends] for ends in (inputs, outputs)]
    return helper.make_graph([helper.make_node(*node[:3], **node[3]) for node in nodes], name, *made)


def _with(node, nodes=(), outputs=("y",), **constants) -> bytes:
    """Return the bytes of a network that ends with a node."""
    known = {name: _WEIGHTS[name] for name in "WV"}
    model = onnx.load_from_string(network([*_BOTH, *nodes], constants={**known, **constants}, outputs=outputs))
    model.graph.node.append(node)
    return model.SerializeToString()


def _with_if() -> bytes:
    both = {
        name: _graph(name, [], [("Concat", ["b", "s"], [name], {"axis": 1})], [(name, 1)])
        for name in ("then_branch", "else_branch")
    }
    is_large = [("ReduceMax", "x", "m", {"keepdims": 0}), ("Greater", "m limit", "is_large")]
    return _with(helper.make_node("If", ["is_large"], ["y"], **both), is_large, limit=2.5)


def _with_loop() -> bytes:
    nodes = [
        ("Concat", ["b", "s"], ["cat"], {"axis": 1}),
        ("Identity", ["go"], ["on"], {}),
        ("Add", ["state", "half"], ["more"], {}),
    ]
    body = _graph("body", [("i", 7), ("go", 9), ("state", 1)], nodes, [("on", 9), ("more", 1), ("cat", 1)])
    node = helper.make_node("Loop", ["n", "yes", "s"], ["last", "rows"], body=body)
    return _with_squeezed(_with(node, outputs=("rows", "last"), n=np.array(1), yes=np.array(True), half=0.5))


def _with_squeezed(model: bytes) -> bytes:
    """Return a model whose output y is the only row of another one."""
    proto = onnx.load_from_string(model)
    proto.graph.initializer.append(numpy_helper.from_array(whole(0), "first"))
    proto.graph.node.append(helper.make_node("Squeeze", ["rows", "first"], ["y"]))
    proto.graph.output[0].name = "y"
    return proto.SerializeToString()


def _with_scan() -> bytes:
    nodes = [("Concat", ["row", "score"], ["joined"], {"axis": 1})]
    body = _graph("body", [("row", 1), ("score", 1)], nodes, [("joined", 1)])
    options = {"num_scan_inputs": 2, "scan_input_axes": [2, 2], "scan_output_axes": [2]}
    return _with(helper.make_node("Scan", ["b", "s"], ["y"], body=body, **options))


INSIDE = {"if": _with_if(), "loop": _with_loop(), "scan": _with_scan()}
"""Networks whose output, of boxes and scores, a graph inside of a node joins."""
