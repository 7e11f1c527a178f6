"""Networks of the sizes that microcontrollers run, with random weights: the form counts, not what they recognize.

MobileNetV2 with a quarter of the width, a U-Net, a detector in the manner of YOLO, the DS-CNN of Zhang et al., Hello
Edge (2017), that spots keywords, and ResNet-18; with the digits and SRCNN that are bundled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from benchmark_networks import Builder, mobilenet_v2

from qengine import zoo

Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Embedded:
    """A network and what it is fed.

    Attributes
    ----------
    name : name.
    model : path or serialized model.
    feeds : feeds of some runs, all of one shape.
    """

    name: str
    model: str | bytes
    feeds: list[Feeds]


def _up(b: Builder, x: str, channels: int, outputs: int) -> str:
    w = b.random(channels, outputs, 2, 2, scale=channels**-0.5)
    return b.node("ConvTranspose", x, w, b.random(outputs, scale=0.05), kernel_shape=[2, 2], strides=[2, 2])


def unet(size: int = 64, width: int = 8) -> onnx.ModelProto:
    """Return a U-Net of three levels with a map of two classes."""
    b = Builder(2)
    skips, x, inputs = [], "input", 3
    for level in range(3):
        outputs = width << level
        x = b.relu(b.conv(b.relu(b.conv(x, inputs, outputs, 3)), outputs, outputs, 3))
        skips.append((x, outputs))
        x, inputs = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), outputs
    outputs = width << 3
    x, inputs = b.relu(b.conv(b.relu(b.conv(x, inputs, outputs, 3)), outputs, outputs, 3)), outputs
    for skip, channels in reversed(skips):
        x = b.node("Concat", _up(b, x, inputs, channels), skip, axis=1)
        x, inputs = b.relu(b.conv(b.relu(b.conv(x, 2 * channels, channels, 3)), channels, channels, 3)), channels
    return b.model("unet", b.node("Sigmoid", b.conv(x, inputs, 2, 1)), size)


def yolo(size: int = 96, width: int = 8) -> onnx.ModelProto:
    """Return a detector with two scales: SiLU, blocks that split and join, a pyramid of pools, and an upsampling."""
    b = Builder(3)

    def silu(x: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> str:
        y = b.conv(x, inputs, outputs, kernel, stride)
        return b.node("Mul", y, b.node("Sigmoid", y))

    def split(x: str, channels: int) -> str:
        half = channels // 2
        y = silu(x, channels, channels, 1)
        parts = b.several("Split", 2, y, b.constant(np.array([half, half])), axis=1)
        inner = silu(silu(parts[1], half, half, 3), half, half, 3)
        joined = b.node("Concat", *parts, b.node("Add", parts[1], inner), axis=1)
        return silu(joined, 3 * half, channels, 1)

    x = split(silu(silu("input", 3, width, 3, 2), width, 2 * width, 3, 2), 2 * width)
    fine = split(silu(x, 2 * width, 4 * width, 3, 2), 4 * width)
    x = split(silu(fine, 4 * width, 8 * width, 3, 2), 8 * width)
    pools = [silu(x, 8 * width, 4 * width, 1)]
    for _ in range(3):
        pools.append(b.node("MaxPool", pools[-1], kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1]))
    coarse = silu(b.node("Concat", *pools, axis=1), 16 * width, 8 * width, 1)
    scales = b.constant(np.float32([1, 1, 2, 2]))
    up = b.node(
        "Resize", coarse, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    fine = silu(b.node("Concat", up, fine, axis=1), 12 * width, 4 * width, 3)
    heads = [b.conv(silu(y, n, n, 3), n, 18, 1) for y, n in ((fine, 4 * width), (coarse, 8 * width))]
    flat = [b.node("Reshape", y, b.constant(np.array([1, 18, -1]))) for y in heads]
    return b.model("yolo", b.node("Sigmoid", b.node("Concat", *flat, axis=2)), size)


def keywords(classes: int = 12, width: int = 64) -> onnx.ModelProto:
    """Return DS-CNN for 49 frames of 10 coefficients."""
    b = Builder(4)
    w, bias = b.random(width, 1, 10, 4, scale=0.2), b.random(width, scale=0.05)
    x = b.relu(b.node("Conv", "input", w, bias, kernel_shape=[10, 4], strides=[2, 2], pads=[4, 1, 5, 1]))
    for _ in range(4):
        x = b.relu(b.conv(x, width, width, 3, group=width))
        x = b.relu(b.conv(x, width, width, 1))
    y = b.node("Softmax", b.classifier(x, width, classes), axis=1)
    return b.model("keywords", y, (1, 1, 49, 10))


def resnet18(size: int = 64, classes: int = 200) -> onnx.ModelProto:
    """Return ResNet-18 for small images."""
    b = Builder(5)
    x = b.node("MaxPool", b.relu(b.conv("input", 3, 64, 7, 2)), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 64
    for level in range(4):
        for i in range(2):
            outputs, stride = 64 << level, 2 if level and i == 0 else 1
            y = b.conv(b.relu(b.conv(x, inputs, outputs, 3, stride)), outputs, outputs, 3, gain=0.5)
            shortcut = b.conv(x, inputs, outputs, 1, stride, gain=1.0) if inputs != outputs else x
            x, inputs = b.relu(b.node("Add", y, shortcut)), outputs
    return b.model("resnet18", b.classifier(x, inputs, classes), size)


def _random(build: Callable[[], onnx.ModelProto], name: str, runs: int = 2) -> Embedded:
    model = build()
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    rng = np.random.default_rng(0)
    feeds: list[Feeds] = [{"input": rng.random(shape, np.float32)} for _ in range(runs)]
    return Embedded(name, model.SerializeToString(), feeds)


def _digits() -> Embedded:
    entry = zoo.find("digits")
    feeds = {name: array[:1] for name, array in entry.sample().feeds.items()}
    return Embedded("digits", str(entry.path), [feeds])


def _srcnn() -> Embedded:
    rng = np.random.default_rng(0)
    feeds = {"input": rng.random((1, 3, 100, 100), np.float32), "factor": np.float32([1, 1, 3, 3])}
    return Embedded("srcnn 100x100 x3", str(zoo.find("srcnn").path), [feeds])


EMBEDDED: dict[str, Callable[[], Embedded]] = {
    "digits": _digits,
    "keywords": lambda: _random(keywords, "DS-CNN keywords"),
    "mobilenet": lambda: _random(lambda: mobilenet_v2(96, 0.25), "MobileNetV2 0.25 96x96"),
    "unet": lambda: _random(unet, "U-Net 64x64"),
    "yolo": lambda: _random(yolo, "YOLO-like 96x96"),
    "resnet18": lambda: _random(resnet18, "ResNet-18 64x64", 1),
    "srcnn": _srcnn,
}
"""The networks by a short name."""
