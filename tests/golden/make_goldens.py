"""Write the golden files beside this script: models exported by torch, and what torch gives for some inputs.

    python tests/golden/make_goldens.py

`index.json` gives the model of each golden file (see `qengine.golden`): a path from this folder, to a file
beside it or in qengine/zoo. Every pair is checked with onnxruntime.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import torch
from families import FAMILIES
from PIL import Image
from torch import nn
from torch.nn import functional as fn

from qengine.export import SRCNN, export, write_golden
from qengine.golden import read_golden

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from families import Family
    from numpy.typing import NDArray

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ZOO = ROOT / "qengine" / "zoo"
SEED = 0
TOLERANCE = 1e-5  # of the largest output


# --- tiny networks, each one kind of thing that torch exports


class Residual(nn.Module):
    """conv-bn-relu, a block whose input is added to its output, max pool, Gemm, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
        )
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1, dilation=1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.classifier = nn.Linear(12 * 3 * 3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 12, 12] -> [N, 5]."""
        x = self.stem(x)
        x = torch.relu(self.block(x) + x)
        x = self.pool(torch.relu(self.down(x)))
        return torch.softmax(self.classifier(torch.flatten(x, 1)), dim=1)


class Mobile(nn.Module):
    """Depthwise and pointwise convolutions, hard-swish, ReLU6, squeeze and excite, adaptive average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.excite = nn.Conv2d(4, 8, 1)
        self.pointwise = nn.Conv2d(8, 16, 1)
        self.swish, self.relu6, self.gate = nn.Hardswish(), nn.ReLU6(), nn.Hardsigmoid()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] -> [N, 4]."""
        x = self.swish(self.stem(x))
        x = self.relu6(self.norm(self.depthwise(x)))
        x = x * self.gate(self.excite(torch.relu(self.squeeze(self.pool(x)))))
        x = self.pool(self.swish(self.pointwise(x)))
        return self.classifier(torch.flatten(x, 1))


class Decoder(nn.Module):
    """Two branches, a transposed convolution, bilinear resizes, concatenation, sigmoid; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Conv2d(2, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
        self.dilated = nn.Conv2d(6, 4, 3, padding=2, dilation=2)
        self.mask = nn.Conv2d(10, 1, 3, padding=1)
        self.average = nn.AvgPool2d(2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[N, 2, 10, 14] -> [N, 1, 10, 14] and [N, 10, 5, 7]."""
        code = fn.elu(self.encode(x))
        grown = self.up(code)
        context = fn.interpolate(self.dilated(code), scale_factor=2, mode="bilinear", align_corners=False)
        corners = fn.interpolate(x, size=(10, 14), mode="bilinear", align_corners=True)
        joined = torch.cat([grown, context, corners], dim=1)
        return torch.sigmoid(self.mask(joined)), self.average(joined)


class Signal(nn.Module):
    """One dimension: strided, dilated and grouped Conv1d, LeakyReLU, PReLU, max pool, mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2, 8, 7, stride=2, padding=3),
            nn.LeakyReLU(0.1),
            nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=4),
            nn.BatchNorm1d(8),
            nn.PReLU(8),
            nn.MaxPool1d(2),
            nn.Conv1d(8, 6, 3, padding="same"),
        )
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 2, L] -> [N, 3]."""
        return self.head(self.body(x).mean(dim=2))


class Shuffle(nn.Module):
    """Nearest resize, pixel shuffle, split, channel shuffle, reflect padding, tanh, GELU; any image size."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1, padding_mode="reflect")
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.second = nn.Conv2d(8, 4, 3, padding=1)
        self.act = nn.GELU()
        self.shuffle = nn.PixelShuffle(2)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 1, H, W] -> [N, 1, 2H, 2W]."""
        left, right = self.act(self.first(x)).chunk(2, dim=1)
        count, channels, height, width = left.shape
        mixed = torch.stack([right, left * 0.5], dim=2).reshape(count, 2 * channels, height, width)
        fine = self.shuffle(self.second(self.act(self.grouped(mixed))))
        return torch.tanh(fine + self.grow(x))


class Attention(nn.Module):
    """Layer normalization and one head of attention over the pixels: MatMul, Transpose, Softmax, Split."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 16, 16] -> [N, 4]."""
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(self.norm(tokens)).split(8, dim=-1)
        weights = torch.softmax(query @ key.transpose(1, 2) / 8**0.5, dim=-1)
        return self.head((tokens + weights @ value).mean(dim=1))


@dataclass(frozen=True)
class Tiny:
    """A network to export, the shapes it is exported with and run at, and how."""

    module: Callable[[], nn.Module]
    traced: tuple[int, ...]
    run: tuple[int, ...]
    opset: int
    outputs: tuple[str, ...] = ("output",)
    free: Mapping[int, str] = field(default_factory=lambda: {0: "N"})  # axes of the input that may vary
    free_out: Mapping[int, str] = field(default_factory=dict)  # those of the outputs, besides the first
    keep_batchnorm: bool = False
    readable_names: bool = False


ANY_IMAGE = {0: "N", 2: "H", 3: "W"}
GROWN = {2: "H_out", 3: "W_out"}
TINY = {
    "tiny_residual_op11": Tiny(Residual, (1, 3, 12, 12), (3, 3, 12, 12), 11, keep_batchnorm=True),
    "tiny_residual_op17": Tiny(Residual, (1, 3, 12, 12), (3, 3, 12, 12), 17, readable_names=True),
    "tiny_mobile_op13": Tiny(Mobile, (1, 3, 12, 12), (2, 3, 15, 11), 13, free=ANY_IMAGE, keep_batchnorm=True),
    "tiny_mobile_op17": Tiny(Mobile, (1, 3, 12, 12), (2, 3, 15, 11), 17, free=ANY_IMAGE),
    "tiny_decoder_op11": Tiny(Decoder, (1, 2, 10, 14), (2, 2, 10, 14), 11, ("mask", "features")),
    "tiny_decoder_op17": Tiny(Decoder, (1, 2, 10, 14), (2, 2, 10, 14), 17, ("mask", "features"), readable_names=True),
    "tiny_signal_op13": Tiny(Signal, (1, 2, 40), (3, 2, 57), 13, free={0: "N", 2: "L"}),
    "tiny_shuffle_op13": Tiny(Shuffle, (1, 1, 8, 8), (2, 1, 7, 9), 13, free=ANY_IMAGE, free_out=GROWN),
    "tiny_shuffle_op20": Tiny(
        Shuffle, (1, 1, 8, 8), (2, 1, 7, 9), 20, free=ANY_IMAGE, free_out=GROWN, readable_names=True
    ),
    "tiny_attention_op17": Tiny(Attention, (1, 3, 16, 16), (2, 3, 16, 16), 17),
}


def settle(module: nn.Module, generator: torch.Generator) -> None:
    """Give a network weights, biases and running statistics that are all seen in its outputs."""
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if not value.is_floating_point():
                continue
            draw = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(0.5 + draw.abs())
            elif value.ndim > 1:
                value.copy_(draw * (2 / value[0].numel()) ** 0.5)
            else:
                value.copy_(draw * 0.2 + (1.0 if "weight" in name else 0.0))


def write_tiny(name: str, tiny: Tiny, seed: int) -> None:
    """Export one tiny network and write its golden."""
    generator = torch.Generator().manual_seed(seed)
    module = tiny.module()
    settle(module, generator)
    export(
        module,
        (torch.zeros(tiny.traced),),
        HERE / f"{name}.onnx",
        input_names=["input"],
        output_names=tiny.outputs,
        dynamic_axes={"input": dict(tiny.free)} | {name: {0: "N"} | tiny.free_out for name in tiny.outputs},
        opset=tiny.opset,
        keep_batchnorm=tiny.keep_batchnorm,
        readable_names=tiny.readable_names,
    )
    inputs = {"input": torch.randn(tiny.run, generator=generator).numpy()}
    write_golden(HERE / f"{name}.npz", module, inputs, tiny.outputs)


# --- families of networks


def learn_statistics(module: nn.Module, image: torch.Tensor) -> None:
    """Give every BatchNorm the statistics that the image has there, as training does."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    module.train()
    with torch.no_grad():
        module(image)
    module.eval()


def write_family(name: str, family: Family, seed: int) -> None:
    """Export the network of one family and write its golden."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # Dropout draws from torch's own
    module = family.module()
    settle(module, generator)
    learn_statistics(module, torch.rand((8, *family.image), generator=generator))
    path = HERE / "families" / name
    if family.dynamo:
        export_dynamo(module, family, path.with_suffix(".onnx"))
    else:
        export(
            module,
            (torch.zeros(1, *family.image),),
            path.with_suffix(".onnx"),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "N"}, "output": {0: "N"}},
            opset=family.opset,
            keep_batchnorm=family.keep_batchnorm,
        )
    inputs = {"input": torch.rand((2, *family.image), generator=generator).numpy()}
    write_golden(path.with_suffix(".npz"), module, inputs, ["output"])


def export_dynamo(module: nn.Module, family: Family, path: Path) -> None:
    """Export by torch.export, without what it notes of the machine that it ran on."""
    program = torch.onnx.export(
        module,
        (torch.zeros(2, *family.image),),
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        opset_version=family.opset,
        dynamo=True,
        verbose=False,
    )
    model = program.model_proto
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


# --- SRCNN and digits


def factor(vertical: float, horizontal: float) -> NDArray[np.float32]:
    """Return the second input of SRCNN."""
    return np.array([1, 1, vertical, horizontal], np.float32)


def load_weights(module: nn.Module, path: Path) -> None:
    """Give a torch module the weights of the ONNX file that was exported from it."""
    tensors = onnx.load(path).graph.initializer
    weights = {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in tensors}
    # ONNX has no place for the number of batches that a BatchNormalization has seen.
    weights |= {name: value for name, value in module.state_dict().items() if "num_batches" in name}
    module.load_state_dict(weights)


def write_srcnn() -> None:
    """Write the bundled SRCNN on its sample, and on a 32x32 part of it."""
    module = SRCNN()
    load_weights(module, ZOO / "srcnn.onnx")
    with Image.open(ZOO / "srcnn_sample.png") as image:
        pixels = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    for name, part in (("srcnn_x3", pixels[..., 30:62, 20:52]), ("srcnn_sample", pixels)):
        write_golden(HERE / f"{name}.npz", module, {"input": part, "factor": factor(3, 3)}, ["output"])


def write_seeded_srcnn(seed: int) -> None:
    """Export an SRCNN as torch begins it, at factor 2, and write what it gives at another size and other factors."""
    generator = torch.manual_seed(seed)  # torch's own, which the weights come from
    module = SRCNN()
    export(
        module,
        (torch.rand(1, 3, 8, 8, generator=generator), torch.from_numpy(factor(2, 2))),
        HERE / "srcnn_seed.onnx",
        input_names=["input", "factor"],
        output_names=["output"],
        dynamic_axes={"input": {0: "N", 2: "H", 3: "W"}, "output": {0: "N", 2: "H_out", 3: "W_out"}},
    )
    for suffix, shape, given in (
        ("", (2, 3, 13, 10), factor(1.5, 2.5)),
        ("_x3", (1, 3, 9, 11), factor(3, 3)),
        ("_half", (1, 3, 18, 12), factor(0.5, 1)),
    ):
        inputs = {"input": torch.rand(shape, generator=generator).numpy(), "factor": given}
        write_golden(HERE / f"srcnn_seed{suffix}.npz", module, inputs, ["output"])


def write_digits() -> None:
    """Write the bundled digits network on twenty held-out digits, two of each."""
    script = ROOT / "zoo_training" / "train_digits.py"
    spec = importlib.util.spec_from_file_location(script.stem, script)
    training = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(training)
    module = training.Digits10()
    load_weights(module, ZOO / "digits.onnx")
    with np.load(ZOO / "digits_heldout.npz") as held_out:
        chosen = np.concatenate([np.flatnonzero(held_out["labels"] == digit)[:2] for digit in range(10)])
        images = held_out["images"][chosen, None].astype(np.float32) / np.float32(255)
    write_golden(HERE / "digits.npz", module, {"image": images}, ["logits"])


def check(golden: Path, model: Path) -> float:
    """Compare a golden with onnxruntime.

    Returns
    -------
    float
        The largest difference as a share of the largest output.

    Raises
    ------
    SystemExit
        If it is above `TOLERANCE`.
    """
    inputs, outputs = read_golden(golden)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    results = session.run(list(outputs), inputs)
    worst = max(
        float(np.abs(result - wanted).max() / np.abs(wanted).max())
        for result, wanted in zip(results, outputs.values(), strict=True)
    )
    if not worst <= TOLERANCE:
        raise SystemExit(f"{golden.name}: onnxruntime differs from torch by {worst:.2g} of the largest output")
    return worst


def main() -> None:
    """Write everything, check it, list it."""
    torch.set_num_threads(1)
    write_srcnn()
    write_digits()
    write_seeded_srcnn(SEED)
    for seed, (name, tiny) in enumerate(TINY.items(), SEED + 1):
        write_tiny(name, tiny, seed)
    for seed, (name, family) in enumerate(FAMILIES.items(), SEED + 100):
        write_family(name, family, seed)
    models = dict.fromkeys(("srcnn_x3", "srcnn_sample"), "../../qengine/zoo/srcnn.onnx")
    models["digits"] = "../../qengine/zoo/digits.onnx"
    models |= dict.fromkeys(("srcnn_seed", "srcnn_seed_x3", "srcnn_seed_half"), "srcnn_seed.onnx")
    models |= {name: f"{name}.onnx" for name in TINY}
    models |= {f"families/{name}": f"families/{name}.onnx" for name in FAMILIES}
    index = {f"{name}.npz": model for name, model in models.items()}
    for name, model in index.items():
        worst, size = check(HERE / name, HERE / model), (HERE / name).stat().st_size
        print(f"{name:<36} {size:8} bytes, onnxruntime within {worst:.1e}")  # noqa: T201 - a script
    (HERE / "index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()
