"""Alone, all but one, and groups: against ONNX Runtime on models with pairs of QuantizeLinear and DequantizeLinear."""

import numpy as np
import onnxruntime
import pytest
from networks import network, weights

from qengine import InferenceSession, QFormat
from qengine.analysis.blame import blame

NODES = [
    ("Conv", "x w b", "c"),
    ("Relu", "c", "r"),
    ("Conv", "r d", "e", {"pads": [1] * 4}),
    ("Add", "e r", "a"),
    ("Sigmoid", "a", "s"),
    ("Concat", "s a", "j", {"axis": 1}),
    ("MaxPool", "j", "m", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("Flatten", "m", "f"),
    ("Gemm", "f v", "y"),
    *(node for k in range(24) for node in [("Gemm", f"{'y' if k == 0 else f'z{k - 1}'} u", f"z{k}")]),
]
OUTPUTS = ("y", "z23")
CONSTANTS = {
    "w": weights(4, 2, 3, 3, seed=1),
    "b": weights(4, seed=2),
    "d": weights(4, 4, 3, 3, seed=4, scale=0.4),
    "v": weights(32, 3, seed=6, scale=0.4),
    "u": np.float32([[0.8, 0.3, 0.0], [0.0, 0.9, 0.2], [0.1, 0.0, 0.7]]),
}
BITS = 6
FEEDS = [{"x": weights(2, 2, 6, 6, seed=seed)} for seed in (9, 11)]


def rounded_in_onnx_runtime(session, names):
    """Return the outputs of float32 runs in ONNX Runtime in which tensors are rounded by pairs of nodes."""
    formats = {name: session.formats[name] for name in names}
    nodes, constants = [], {**CONSTANTS, "zero": np.int8(0)}

    def pair(name, source):
        constants[f"{name}_scale"] = np.float32(2.0 ** -fraction_bits(formats[name]))
        # Codes of 6 bits in words of 8: Clip in codes, as QuantizeLinear saturates at 8 bits.
        low, high = (np.float32(end * 2.0 ** -fraction_bits(formats[name])) for end in ends(formats[name]))
        constants[f"{name}_low"], constants[f"{name}_high"] = low, high
        nodes.append(("Clip", f"{source} {name}_low {name}_high", f"{name}_clipped"))
        nodes.append(("QuantizeLinear", f"{name}_clipped {name}_scale zero", f"{name}_codes"))
        nodes.append(("DequantizeLinear", f"{name}_codes {name}_scale zero", f"{name}_rounded"))

    def read(words):
        return " ".join(f"{word}_rounded" if word in formats else word for word in words.split())

    for name in formats:
        if name in CONSTANTS or name == "x":
            pair(name, name)
    for operator, inputs, output, *attributes in NODES:
        nodes.append((operator, read(inputs), output, *attributes))
        if output in formats:
            pair(output, output)
    results = tuple(f"{name}_rounded" if name in formats else name for name in OUTPUTS)
    model = network(nodes, inputs={"x": [2, 2, 6, 6]}, outputs=results, constants=constants)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    other = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [other.run(None, feed) for feed in FEEDS]


def fraction_bits(form):
    return QFormat.of(form).fraction_bits


def ends(form):
    bits = QFormat.of(form).bits
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def sqnr(exact, other):
    """Return the SQNR of all outputs, from the mean of their ratios over all feeds."""
    ratios = []
    for k in range(len(OUTPUTS)):
        pairs = [(one[k].astype(np.float64), two[k]) for one, two in zip(exact, other, strict=True)]
        ratios.append(sum(np.sum((a - b) ** 2) for a, b in pairs) / sum(np.sum(a**2) for a, _ in pairs))
    return -10 * np.log10(np.mean(ratios)) if np.mean(ratios) else np.inf


@pytest.fixture(scope="module")
def measured():
    model = network(NODES, inputs={"x": [2, 2, 6, 6]}, outputs=OUTPUTS, constants=CONSTANTS)
    integer_bits = {name: 2 for _, _, name, *_ in NODES} | dict.fromkeys(("x", "d"), 2)
    integer_bits |= {"s": 1, "v": 1, "w": 1, "u": 0} | {name: 3 for _, _, name, *_ in NODES if name[0] in "zy"}
    everything = {name: f"Q{i}.{BITS - 1 - i}" for name, i in integer_bits.items()}
    session = InferenceSession(model, formats=everything)
    groups = {
        "chain": [f"z{k}" for k in range(5, 20)],
        "block": ["d", "e", "a"],
        "odd": ["x", "s", "v", "z7", "u"],
    }
    return session, blame(session, FEEDS, groups=groups)


def test_alone_and_all_but(measured):
    session, found = measured
    rounded = [one.name for one in found.tensors if one.output_db is not None]
    assert len(rounded) > 32
    exact = rounded_in_onnx_runtime(session, [])
    assert found.rounded_db == pytest.approx(sqnr(exact, rounded_in_onnx_runtime(session, rounded)), abs=0.02)
    for name in ["x", "w", "r", "d", "e", "a", "s", "v", "y", "u", "z0", "z7", "z8", "z22", "z23"]:
        alone = sqnr(exact, rounded_in_onnx_runtime(session, [name]))
        others = sqnr(exact, rounded_in_onnx_runtime(session, [other for other in rounded if other != name]))
        assert found[name].output_db == pytest.approx(alone, abs=0.02), name
        assert found[name].all_but_db == pytest.approx(others, abs=0.02), name


def test_groups(measured):
    session, found = measured
    rounded = [one.name for one in found.tensors if one.output_db is not None]
    exact = rounded_in_onnx_runtime(session, [])
    assert len(found.groups) == 3
    for group in found.groups:
        assert group.output_db == pytest.approx(sqnr(exact, rounded_in_onnx_runtime(session, group.tensors)), abs=0.02)
        others = [name for name in rounded if name not in group.tensors]
        assert group.all_but_db == pytest.approx(sqnr(exact, rounded_in_onnx_runtime(session, others)), abs=0.02)
