"""Files that the pages speak of: a model of one's own with pictures, arrays and labels, and what a device dumped.

`model.onnx` is a classifier of three kinds of pictures by their mean features, so that it is right on nearly all of
them without a training. Every page gets a folder with all of these, as if the reader had them.
"""

from __future__ import annotations

import io
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from docs.special_files import SPECIAL
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import qengine

CLASSES = ("cat", "dog", "fox")


def fill(folder: Path, page: str) -> None:
    """Write the files of a page to a folder."""
    for name, content in common().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if page in SPECIAL:
        SPECIAL[page](folder)


def picture(kind: int, number: int) -> np.ndarray:
    """Return a picture of one kind, of shape (32, 32, 3), 0..255."""
    random = np.random.default_rng(1000 * kind + number)
    y, x = np.mgrid[:32, :32] / 31.0
    waves = np.sin(2 * np.pi * (2 + kind) * (x if kind % 2 else y) + random.uniform(0, 6))
    colour = np.eye(3)[kind] * 0.35 + 0.3
    values = colour + 0.2 * waves[..., None] + random.normal(0, 0.08, (32, 32, 3))
    return np.clip(np.round(255 * values), 0, 255).astype(np.uint8)


def _tensors(pictures: list[np.ndarray]) -> np.ndarray:
    return (np.stack(pictures).transpose(0, 3, 1, 2) / 255).astype(np.float32)


def model_file(classifier: np.ndarray | None = None) -> bytes:
    """Return the model; without a classifier, one whose output is the features."""
    random = np.random.default_rng(0)

    def filters(outputs: int, inputs: int) -> np.ndarray:
        return (random.normal(size=(outputs, inputs, 3, 3)) * np.sqrt(2 / (9 * inputs))).astype(np.float32)

    constants: dict[str, np.ndarray] = {"conv1.weight": filters(8, 3), "conv2.weight": filters(16, 8)}
    nodes = []
    before = "input"
    for i in (1, 2):
        nodes.append(
            helper.make_node(
                "Conv", [before, f"conv{i}.weight"], [f"conv{i}"], f"conv{i}", strides=[2, 2], pads=[1, 1, 1, 1]
            )
        )
        statistics = [f"norm{i}.{what}" for what in ("scale", "bias", "mean", "variance")]
        width = constants[f"conv{i}.weight"].shape[0]
        constants |= dict(
            zip(statistics, np.float32([[1] * width, [0.2] * width, [0] * width, [0.5] * width]), strict=True)
        )
        nodes.append(helper.make_node("BatchNormalization", [f"conv{i}", *statistics], [f"norm{i}"], f"norm{i}"))
        nodes.append(helper.make_node("Relu", [f"norm{i}"], [f"relu{i}"], f"relu{i}"))
        before = f"relu{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["pooled"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"], "flatten"))
    if classifier is not None:
        constants |= {"classifier.weight": classifier[:, :-1], "classifier.bias": classifier[:, -1]}
        names = ["features", "classifier.weight", "classifier.bias"]
        nodes.append(helper.make_node("Gemm", names, ["logits"], "classifier", transB=1))
    output, width = ("features", 16) if classifier is None else ("logits", len(CLASSES))
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", width])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _classifier(pictures: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the weights and biases of the linear classifier by the nearest mean of the features."""
    (features,) = qengine.InferenceSession(model_file(), isa="reference").run(None, {"input": pictures})
    means = np.stack([features[labels == kind].mean(0) for kind in range(len(CLASSES))])
    return np.concatenate([2 * means, -(means**2).sum(1, keepdims=True)], 1).astype(np.float32)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _arrays(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _array(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@cache
def common() -> dict[str, bytes]:
    """Return the content of every file by its name."""
    files: dict[str, bytes] = {}
    pictures, labels = [], []
    for i in range(24):
        for kind, name in enumerate(CLASSES):
            pixels = picture(kind, i)
            pictures.append(pixels)
            labels.append(kind)
            part = "train" if i < 16 else "val"
            files[f"{part}/{name}/{i:02}.png"] = _png(pixels)
            if i < 4:
                files[f"photos/{name}{i}.png"] = _png(pixels)
    tensors, numbers = _tensors(pictures), np.array(labels)
    files["labels.csv"] = "".join(f"{name}{i}.png,{name}\n" for i in range(4) for name in CLASSES).encode()
    model = model_file(_classifier(tensors, numbers))
    files["model.onnx"] = model
    files["set.npz"] = _arrays(input=tensors, labels=numbers)
    files["photo.png"] = files["photos/cat0.png"]
    files["batch.npy"] = _array(tensors[:4])
    files["in.npy"] = _array(tensors[:1])
    digits = qengine.zoo.find("digits").sample().feeds["image"]
    files["digit.png"] = _png(np.round(255 * digits[0, 0]).astype(np.uint8))
    files["formats.json"] = _formats(model, tensors)
    return files


def _formats(model: bytes, tensors: np.ndarray) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "formats.json")
        qengine.calibrate(model, [{"input": tensors}]).save(path)
        return path.read_bytes()
