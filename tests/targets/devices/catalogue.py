"""The devices by the name of their target, with the networks that each can run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from targets.devices import cmsis_legacy, esp, hls, plain, tflite
from targets.devices.device import Device
from targets.devices.network import Format
from targets.devices.random_networks import Limits

LINEAR = ("conv", "depthwise", "dense")
SIMPLE = ("average", "maximum", "relu", "concat", "global")
FUNCTIONS = ("sigmoid", "tanh")


@dataclass(frozen=True)
class Entry:
    """A model of a device, what networks it takes, and where its arithmetic was found out."""

    device: Device
    limits: Limits
    source: str


_INT8 = {"sigmoid": Format(8, 8, signed=False), "tanh": Format(8, 7)}
_Q7 = {name: Format(8, 7) for name in FUNCTIONS}
_Q15 = {name: Format(16, 15) for name in FUNCTIONS}
_TFLITE = Limits(
    (*LINEAR, "transposed", "matmul", "add", "sub", "mul", *SIMPLE, *FUNCTIONS),
    functions=_INT8,
    symmetric=True,
    per_channel=True,
)
_LEGACY = Limits((*LINEAR, "mul", *SIMPLE, *FUNCTIONS), functions=_Q7, off_grid=True)
_ESP = Limits((*LINEAR, "add", "sub", "mul", *SIMPLE, *FUNCTIONS), keeps=False, functions=_Q7, off_grid=True)
_FREE = Limits((*LINEAR, "add", "sub", "mul", *SIMPLE, *FUNCTIONS), keeps=False, functions=_Q7)

CATALOGUE: dict[str, Entry] = {
    "onnx": Entry(
        plain.Plain(), replace(_FREE, off_grid=True, per_channel=True), "ONNX's definition; ONNX Runtime executed"
    ),
    "qonnx": Entry(plain.Plain(), _FREE, "qonnx's definition"),
    "cmsis-nn-q7": Entry(cmsis_legacy.Legacy(), _LEGACY, "plain Python; CMSIS-NN's C compiled by hand"),
    "cmsis-nn-q7-m4": Entry(
        cmsis_legacy.LegacyOfM4(), replace(_LEGACY, pads="less"), "plain Python; C compiled by hand"
    ),
    "cmsis-nn-q15": Entry(
        cmsis_legacy.LegacyWide(),
        Limits(("conv", "dense", "mul", "relu", *FUNCTIONS), 16, 16, functions=_Q15, off_grid=True, most_shift=20),
        "plain Python; CMSIS-NN's C compiled by hand",
    ),
    "cmsis-nn-s8": Entry(tflite.DoubleRounding(), _TFLITE, "plain Python; CMSIS-NN's C compiled by hand"),
    "cmsis-nn-s8-single": Entry(tflite.SingleRounding(), _TFLITE, "plain Python; CMSIS-NN's C compiled by hand"),
    "tflite": Entry(tflite.LiteRtReference(), _TFLITE, "LiteRT executed, reference kernels"),
    "litert-ruy": Entry(tflite.Ruy(), _TFLITE, "LiteRT executed, optimized kernels"),
    "litert-xnnpack": Entry(tflite.Xnnpack(), _TFLITE, "LiteRT executed, XNNPACK"),
    "tflite-16x8": Entry(
        tflite.Wide(),
        Limits(
            (*LINEAR, "add", "sub", "mul", *SIMPLE, *FUNCTIONS),
            bits=16,
            functions=_Q15,
            symmetric=True,
            most_shift=16,
            per_channel=True,
        ),
        "LiteRT executed, int16 activations",
    ),
    "esp32-s3": Entry(esp.EspS3(), _ESP, "plain Python; esp-ppq executed where no sum reaches 20 bits"),
    "esp32-p4": Entry(esp.EspP4(), replace(_ESP, per_channel=True), "plain Python; esp-ppq executed"),
    "ap-fixed": Entry(plain.ApFixed(), replace(_FREE, off_grid=True), "plain Python; apytypes executed"),
    "hls4ml": Entry(
        hls.Hls4ml(),
        replace(_FREE, kinds=(*LINEAR, "add", "sub", "mul", *SIMPLE), off_grid=True),
        "hls4ml's C++ executed",
    ),
    "nnom": Entry(
        cmsis_legacy.Nnom(),
        replace(_LEGACY, kinds=(*LINEAR, "add", "sub", "mul", *SIMPLE, *FUNCTIONS), equal_sums=True),
        "plain Python; NNoM's C compiled by hand",
    ),
    "max78000": Entry(
        plain.Max78000(),
        Limits((*LINEAR, "add", "sub", "mul", *SIMPLE), equal_sums=True, off_grid=True),
        "plain Python; ai8x-synthesis's simulator run by hand",
    ),
    "gap": Entry(plain.Gap(), Limits((*LINEAR, *SIMPLE), off_grid=True), "plain Python"),
    "aie": Entry(plain.AiEngine(), _FREE, "plain Python"),
}
