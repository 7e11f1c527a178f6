"""Blocks of programs: each adds nodes that make a tensor [batch, length, width] of another, of the same width."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from .scope import BOOL, FLOAT, INT64, Scope

Block = Callable[[Scope, str], str]


def function_of_one_variable(s: Scope, x: str) -> str:
    op = s.pick("Relu", "Tanh", "Sigmoid", "Neg", "Abs", "LeakyRelu", "Identity", "Dropout", "Softplus")
    return s.node(op, [x])


def weights(s: Scope, array: np.ndarray) -> str:
    """Return a constant of float32, stored in any element type and cast."""
    kind = s.pick("float32", "float32", "float16", "bfloat16" if s.opset >= 13 else "float16", "double", "int8")
    if kind == "float32":
        return s.constant(array)
    if kind == "bfloat16":
        stored = helper.make_tensor("w", TensorProto.BFLOAT16, array.shape, array.ravel().tolist())
    elif kind == "int8":
        stored = numpy_helper.from_array(np.clip(np.rint(array * 8), -127, 127).astype(np.int8))
    else:
        stored = numpy_helper.from_array(array.astype(kind))
    cast = s.node("Cast", [s.constant(stored)], to=FLOAT)
    return s.node("Mul", [cast, s.constant(0.125)]) if kind == "int8" else cast


def linear(s: Scope, x: str) -> str:
    d = s.widths[x]
    w = weights(s, s.numbers(d, d, scale=d**-0.5))
    y = s.node("MatMul", [x, w])
    if s.rng.random() < 0.2:
        y = s.node("MatMul", [y, w])  # shared
    return s.node("Add", [y, weights(s, s.numbers(d, scale=0.3))]) if s.rng.random() < 0.6 else y


def conv(s: Scope, x: str) -> str:
    d = s.widths[x]
    w = weights(s, s.numbers(d, d, 3, scale=(3 * d) ** -0.5))
    inputs = [s.node("Transpose", [x], perm=[0, 2, 1]), w]
    if s.rng.random() < 0.5:
        inputs.append(weights(s, s.numbers(d, scale=0.3)))
    y = s.node("Conv", inputs, kernel_shape=[3], pads=[1, 1])
    if s.rng.random() < 0.5:
        statistics = [s.numbers(d), s.numbers(d), s.numbers(d), np.abs(s.numbers(d)) + 0.1]
        y = s.node("BatchNormalization", [y, *(s.constant(one) for one in statistics)])
    if s.rng.random() < 0.5:
        y = s.node("Relu", [y])
    return s.node("Transpose", [y], perm=[0, 2, 1])


def combine_constant(s: Scope, x: str) -> str:
    d = s.widths[x]
    other = s.constant(s.numbers(*s.pick((), (d,), (1, 1, d))))
    return s.node(s.pick("Add", "Mul", "Sub", "Max", "Min"), [x, other] if s.rng.random() < 0.5 else [other, x])


def combine(s: Scope, x: str) -> str:
    others = [name for name, width in s.widths.items() if width == s.widths[x]]
    return s.node(s.pick("Add", "Mul", "Sub", "Max"), [x, s.pick(*others)])


def clip(s: Scope, x: str) -> str:
    low, high = sorted(s.numbers(2, scale=1.5).tolist())
    if s.opset < 11:
        return s.node("Clip", [x], min=low, max=high)
    if s.rng.random() < 0.3:
        return s.node("Clip", [x, "", s.node("Sqrt", [s.real(s.length(x, 2))])])
    return s.node("Clip", [x, s.constant(low), s.constant(high)])


def softmax(s: Scope, x: str) -> str:
    return s.node("Softmax", [x], axis=s.pick(1, 2, 2))


def centred(s: Scope, x: str) -> str:
    mean = (
        s.node("ReduceMean", [x, s.constant([2], np.int64)]) if s.opset >= 18 else s.node("ReduceMean", [x], axes=[2])
    )
    return s.node("Sub", [x, mean])


def halves(s: Scope, x: str) -> str:
    d = s.widths[x]
    lengths = [d // 2, d - d // 2]
    if s.opset >= 13:
        parts = s.node("Split", [x, s.constant(lengths, np.int64)], 2, axis=2)
    else:
        parts = s.node("Split", [x], 2, axis=2, split=lengths)
    return s.node("Concat", [s.node("Tanh", [parts[0]]), parts[1]], axis=2)


def looked_up(s: Scope, x: str) -> str:
    index = s.node("ArgMax", [x], axis=2, keepdims=0)
    return s.node("Add", [x, s.node("Gather", [s.constant(s.numbers(s.widths[x], s.widths[x])), index])])


# Shapes


def scaled_by_length(s: Scope, x: str) -> str:
    root = s.node("Sqrt", [s.real(s.length(x, s.pick(2, 1, -1 if s.opset >= 11 else 2)))])
    s.known.append(root)
    return s.node(s.pick("Div", "Mul"), [x, root])


def scaled_again(s: Scope, x: str) -> str:
    """Use real numbers that shapes decided before, perhaps around this graph, as they are or after more arithmetic."""
    number = s.pick(*s.known) if s.known else s.node("Log", [s.real(s.length(x, 2))])
    for _ in range(s.whole(0, 2)):
        number = s.node(s.pick("Neg", "Abs", "Tanh"), [s.node("Mul", [number, s.constant(0.7)])])
    s.known.append(number)
    return s.node(s.pick("Mul", "Add", "Max"), [number, x])


def positions(s: Scope, x: str) -> str:
    steps = s.node("Range", [s.constant(0, np.int64), s.length(x, 1), s.constant(1, np.int64)])
    column = s.axes("Unsqueeze", s.node("Mul", [s.real(steps), s.constant(0.1)]), [1])
    return s.node("Add", [x, s.node("Sin", [column])])


def resized(s: Scope, x: str) -> str:
    """Enlarge the width, and take the mean of neighbours."""
    mode, scales = s.pick("nearest", "linear"), [1.0, 1.0, 2.0]
    if s.opset < 9:
        y = s.node("Upsample", [x], mode=mode, scales=scales)
    elif s.opset < 11:
        y = s.node("Upsample" if s.opset == 9 else "Resize", [x, s.constant(scales)], mode=mode)
    else:
        roi = s.constant(np.zeros(0)) if s.opset < 13 else ""
        coordinates = s.pick("half_pixel", "asymmetric", "align_corners")
        y = s.node("Resize", [x, roi, s.constant(scales)], mode=mode, coordinate_transformation_mode=coordinates)
    return s.node(s.pick("AveragePool", "MaxPool"), [y], kernel_shape=[2], strides=[2])


def limited_by_data(s: Scope, x: str) -> str:
    most = s.node("ReduceMax", [s.node("Abs", [x])], keepdims=0)
    return s.node("Clip", [x, "", s.node("Mul", [most, s.constant(0.6)])])


def normalized(s: Scope, x: str) -> str:
    d = s.widths[x]
    return s.node("LayerNormalization", [x, s.constant(s.numbers(d)), s.constant(s.numbers(d))], axis=2)


def in_a_sequence(s: Scope, x: str) -> str:
    parts = s.node("SplitToSequence", [x], axis=2)
    return s.node("ConcatFromSequence", [parts], axis=2)


def expanded(s: Scope, x: str) -> str:
    return s.node("Add", [x, s.node("Expand", [s.constant(s.numbers(1, 1, s.widths[x])), s.node("Shape", [x])])])


def cut_to_length(s: Scope, x: str) -> str:
    table = s.constant(s.numbers(1, 16, s.widths[x]))
    end = s.axes("Unsqueeze", s.length(x, 1), [0])
    start, axis = s.constant([0], np.int64), s.constant([1], np.int64)
    return s.node("Add", [x, s.node("Slice", [table, start, end, axis])])


def filled(s: Scope, x: str) -> str:
    fill = numpy_helper.from_array(s.numbers(1))
    return s.node("Mul", [x, s.node("ConstantOfShape", [s.node("Shape", [x])], value=fill)])


def flattened(s: Scope, x: str) -> str:
    shape = s.node("Shape", [x])
    last = s.axes("Unsqueeze", s.length(x, 2), [0])
    rows = s.node("Reshape", [x, s.node("Concat", [s.constant([-1], np.int64), last], axis=0)])
    d = s.widths[x]
    y = s.node("Gemm", [rows, weights(s, s.numbers(d, d, scale=d**-0.5)), weights(s, s.numbers(d))])
    return s.node("Reshape", [y, shape])


def masked(s: Scope, x: str) -> str:
    steps = s.node("Range", [s.constant(0, np.int64), s.length(x, 1), s.constant(1, np.int64)])
    late = s.axes("Unsqueeze", s.node("Greater", [steps, s.constant(1, np.int64)]), [1])
    return s.node("Where", [late, x, s.constant(s.numbers(1)[0])])


def attention(s: Scope, x: str) -> str:
    root = s.node("Sqrt", [s.real(s.length(x, 2))])
    scores = s.node("MatMul", [x, s.node("Transpose", [x], perm=[0, 2, 1])])
    scores = s.node("Softmax", [s.node("Div", [scores, root])], axis=2)
    return s.node("MatMul", [scores, x])


def weights_by_shape(s: Scope, x: str) -> str:
    d = s.widths[x]
    width = s.axes("Unsqueeze", s.length(x, 2), [0])
    shape = s.node("Concat", [width, width], axis=0)
    w = s.node("Expand", [s.constant(s.numbers(1, d, scale=1 / d)), shape])
    return s.node("MatMul", [x, w])


# Control flow and functions


def value(name: str, kind: int = FLOAT, shape=None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def chain(s: Scope, x: str, least: int = 1, most: int = 3) -> str:
    """Add some blocks, one after the other."""
    for _ in range(s.whole(least, most)):
        allowed = [name for name in BLOCKS if FIRST.get(name, 0) <= s.opset and (s.depth < 2 or name not in DEEP)]
        name = s.pick(*allowed)
        s.shared.trail.append("  " * s.depth + name)
        y = BLOCKS[name](s, x)
        s.widths[y] = s.widths[x]
        x = y
    return x


def branches(s: Scope, x: str) -> str:
    kind = s.pick("fed", "data", "shape", "constant")
    if kind == "fed" and not s.is_function:
        s.shared.choices = 1
        condition = "choice"
    elif kind == "data":
        largest = s.node("ReduceMax", [x], keepdims=0)
        condition = s.node("Greater", [largest, s.constant(0.8)])
    elif kind == "constant":
        condition = s.constant(s.rng.random() < 0.5, bool)
    else:
        condition = s.node("Greater", [s.length(x, 1), s.constant(3, np.int64)])
    graphs = []
    for name in ("then", "else"):
        inside = s.inner()
        what = s.pick("chain", "chain", "chain", "outer", "constant")
        if what == "chain":
            y = chain(inside, x)
        elif what == "outer":
            y = inside.node("Identity", [x])
        else:
            y = inside.constant(s.numbers(1, 1, s.widths[x]))
            if s.is_function:
                y = inside.node("Identity", [y])
        graphs.append(inside.graph(name, [], [value(y)]))
    chosen = s.node("If", [condition], then_branch=graphs[0], else_branch=graphs[1])
    return s.node("Add", [x, chosen])


def loop_of_constants(s: Scope, x: str) -> str:
    """Add what a Loop makes of constants alone."""
    inside, d = s.inner(), s.widths[x]
    i, go, state = inside.name(), inside.name(), inside.name()
    new = inside.node("Tanh", [inside.node("Mul", [state, inside.constant(s.numbers(d))])])
    inputs = [value(i, INT64, []), value(go, BOOL, []), value(state)]
    body = inside.graph("body", inputs, [value(inside.node("Identity", [go]), BOOL), value(new)])
    found = s.node("Loop", [s.constant(s.whole(0, 3), np.int64), "", s.constant(s.numbers(d))], body=body)
    return s.node("Add", [x, s.node("Sqrt", [s.node("Abs", [found])]) if s.rng.random() < 0.5 else found])


def loop(s: Scope, x: str) -> str:
    inside = s.inner()
    i, go, state = inside.name(), inside.name(), inside.name()
    inside.widths[state] = s.widths[x]
    y = chain(inside, state)
    if inside.rng.random() < 0.3:
        y = inside.node("Add", [y, inside.real(i)])
    y = inside.node("Tanh", [y])
    outputs = [inside.node("Identity", [go]), y]
    stacked = s.rng.random() < 0.4
    if stacked:
        outputs.append(inside.node("Neg", [y]))
    inputs = [value(i, INT64, []), value(go, BOOL, []), value(state)]
    kinds = [BOOL, FLOAT, FLOAT]
    body = inside.graph("body", inputs, [value(n, k) for n, k in zip(outputs, kinds, strict=False)])
    count = s.constant(s.whole(1, 3), np.int64)
    found = s.node("Loop", [count, "", x], 1 + stacked, body=body)
    if not stacked:
        return found
    return s.node("Add", [found[0], mean_over(s, found[1], 0)])


def mean_over(s: Scope, x: str, axis: int) -> str:
    if s.opset >= 18:
        return s.node("ReduceMean", [x, s.constant([axis], np.int64)], keepdims=0)
    return s.node("ReduceMean", [x], axes=[axis], keepdims=0)


def scan(s: Scope, x: str) -> str:
    inside, d = s.inner(), s.widths[x]
    state, row = inside.name(), inside.name()
    inside.widths = {}
    mixed = inside.node("Add", [inside.node("Mul", [state, inside.constant(0.5)]), row])
    w = weights(inside, s.numbers(d, d, scale=d**-0.5))
    new = inside.node("Tanh", [inside.node("MatMul", [mixed, w])])
    again = inside.node("Identity", [new])
    body = inside.graph(
        "step", [value(state, FLOAT, ["n", d]), value(row, FLOAT, ["n", d])], [value(new), value(again)]
    )
    first = mean_over(s, x, 1)
    last, rows = s.node("Scan", [first, x], 2, body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1])
    return s.node("Add", [rows, s.axes("Unsqueeze", last, [1])]) if s.rng.random() < 0.5 else rows


def called(s: Scope, x: str) -> str:
    """Call a new local function, or one that there is."""
    same = [f for f in s.shared.functions if f.name.endswith(f"_{s.widths[x]}")]
    if same and s.rng.random() < 0.4 and not s.is_function:
        function = s.pick(*same)
    else:
        inside = Scope(s.shared, s.depth + 1, is_function=True)
        given = inside.name()
        inside.widths[given] = s.widths[x]
        y = chain(inside, given)
        steep = helper.make_node("LeakyRelu", [y], [out := inside.name()])
        steep.attribute.add(name="alpha", ref_attr_name="slope", type=1)
        inside.nodes.append(steep)
        function = helper.make_function(
            "my", f"F{len(s.shared.functions)}_{s.widths[x]}", [given], [out], inside.nodes,
            [helper.make_opsetid("", s.opset), helper.make_opsetid("my", 1)], ["slope"],
        )  # fmt: skip
        s.shared.functions.append(function)
    return s.node(function.name, [x], domain="my", slope=float(s.pick(0.125, 0.5)))


BLOCKS: dict[str, Block] = {
    block.__name__: block
    for block in (
        function_of_one_variable, linear, conv, combine_constant, combine, clip, softmax, centred, halves, looked_up,
        resized, limited_by_data, normalized, in_a_sequence, scaled_by_length, scaled_again, positions, expanded,
        cut_to_length, filled, flattened, masked, attention, weights_by_shape, branches, loop_of_constants, loop, scan,
        called,
    )
}  # fmt: skip
DEEP = ("branches", "loop_of_constants", "loop", "scan", "called")
FIRST = {
    "expanded": 8, "weights_by_shape": 8, "scan": 9, "masked": 11, "filled": 9, "cut_to_length": 10, "positions": 11,
    "limited_by_data": 11, "in_a_sequence": 11, "normalized": 17,
}  # fmt: skip
"""The first opset of blocks that do not exist at opset 7."""
