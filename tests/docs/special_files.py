"""Files that single pages speak of besides those of every page, and programs that may be absent."""

from __future__ import annotations

import shutil
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
from onnx import TensorProto, helper

import qengine
from qengine import cli

ROOT = Path(__file__).resolve().parents[2]


def codes(model: str | Path, feeds: Mapping[str, np.ndarray], **options: object) -> dict[str, np.ndarray]:
    """Return the codes of every tensor by name, as a device would dump them."""
    session = qengine.InferenceSession(model, **options)
    names = [
        name for name in session.graph.tensors() if name in session.formats and name not in session.graph.constants
    ]
    return dict(zip(names, session.run(names, feeds, raw=True), strict=True))


def digits_dump(folder: Path) -> None:
    """Write dump.npz: the codes of four digits in Q4.3 by a device that computes right."""
    digits = qengine.zoo.find("digits")
    feeds = {"image": digits.sample().feeds["image"][:4]}
    np.savez(folder / "dump.npz", **codes(digits.path, feeds, qformat="Q4.3"))


def dumps(folder: Path) -> None:
    """Write a pack of the model, and what a device dumped that cuts where it should round."""
    model, formats = folder / "model.onnx", folder / "formats.json"
    feeds = {"input": np.load(folder / "in.npy")}
    qengine.export_vectors(qengine.InferenceSession(model, formats=formats), [feeds], folder / "pack")
    found = codes(model, feeds, formats=formats, rounding="floor")
    for name in ("dump", "traces"):
        (folder / name).mkdir()
        for tensor, array in found.items():
            np.save(folder / name / f"{tensor}.npy", array)
    np.savez(folder / "a.npz", **codes(model, feeds, formats=formats))
    np.savez(folder / "b.npz", **found)


def soft_shrink(folder: Path) -> None:
    """Write a model with a custom operator, its input, and the file that registers the operator."""
    node = helper.make_node("SoftShrink", ["x", "t"], ["y"], domain="my.domain", gain=1.5)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "shrink",
        [value("x", TensorProto.FLOAT, [4])],
        [value("y", TensorProto.FLOAT, [4])],
        [helper.make_tensor("t", TensorProto.FLOAT, [], [0.5])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.save(folder / "batch.npy", np.float32([-2, 0.25, 0.75, 9]))
    (folder / "operators.py").write_text(
        "import numpy as np\nimport qengine\n\n\n"
        "@qengine.register_operator('SoftShrink', domain='my.domain')\n"
        "def soft_shrink(x, threshold, *, gain: float = 1.0):\n"
        "    return gain * np.sign(x) * np.maximum(np.abs(x) - threshold, 0)\n"
    )


def qonnx_model(folder: Path) -> None:
    """Write a model as Brevitas exports them."""
    path = str(folder / "net.qonnx.onnx")
    assert cli.main(["quantize", "digits", "--bits", "4", "--as", "qonnx", "-o", path]) == 0


def every_dump(folder: Path) -> None:
    """Write what the help of `compare` names."""
    dumps(folder)
    digits_dump(folder)
    found = np.load(folder / "b.npz")
    lines = [f"{name}: {' '.join(map(str, found[name].ravel().tolist()))}" for name in found.files]
    (folder / "trace.log").write_text("\n".join(lines))


def open_model(folder: Path) -> None:
    """Write a model.onnx that takes pictures of any size."""
    model = onnx.load(folder / "model.onnx")
    for axis, name in ((2, "H"), (3, "W")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(model, folder / "model.onnx")


def sounds(folder: Path) -> None:
    """Write a network of sounds of half a second, and class folders of sounds that are a little shorter and longer."""
    random = np.random.default_rng(0)
    constants = {
        "filters": random.normal(size=(4, 1, 64)).astype(np.float32) / 8,
        "matrix": random.normal(size=(4, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["sound", "filters"], ["bands"], strides=[32]),
        helper.make_node("Relu", ["bands"], ["power"]),
        helper.make_node("ReduceMean", ["power"], ["means"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["means", "matrix"], ["scores"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "keywords",
        [value("sound", TensorProto.FLOAT, ["N", 1, 4000])],
        [value("scores", TensorProto.FLOAT, ["N", 2])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "keywords.onnx").write_bytes(model.SerializeToString())
    for kind, pitch in (("yes", 300), ("no", 900)):
        (folder / "speech_commands" / kind).mkdir(parents=True)
        for i in range(4):
            tone = np.sin(2 * np.pi * pitch / 8000 * np.arange(3900 + 60 * i)) * 20000
            with wave.open(str(folder / "speech_commands" / kind / f"{i}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(tone.astype("<i2").tobytes())


def examples(folder: Path) -> None:
    """Copy the examples, as a checkout has them."""
    shutil.copytree(ROOT / "examples", folder / "examples")


SPECIAL: Mapping[str, Callable[[Path], None]] = MappingProxyType(
    {
        "README.md": digits_dump,
        "docs/how-to/compare.md": dumps,
        "docs/how-to/custom-operators.md": soft_shrink,
        "docs/how-to/data.md": sounds,
        "docs/how-to/qonnx.md": qonnx_model,
        "docs/reference/commands/compare.md": every_dump,
        "docs/reference/commands/inspect.md": open_model,
        "docs/tutorials/cortex-m4.md": examples,
    }
)
"""Functions that write more files for single pages."""

OPTIONAL = frozenset(
    ("make", "gcc", "clang", "arm-none-eabi-gcc", "qemu-system-arm", "iverilog", "vvp", "verilator", "cmake")
)
"""Programs that need not be installed: the rest of a page is skipped without one."""
