"""Train the bundled digits network, measure it, and write it with the digits held out from training.

    python zoo_training/train_digits.py --data mnist_10k.npz --out qengine/data/zoo

The data file holds `images`, uint8 [10000, 28, 28], and `labels`, uint8 [10000]; a tenth of each digit's
images is held out. BatchNormalization is exported as nodes of its own, so that a runtime has something to fold.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch  # noqa: TID251 - a training script
from torch.nn import functional as fn  # noqa: TID251 - a training script

from qengine.atomic_files import replacing
from qengine.torch_export import export

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FORMATS = {
    "Q0.7": 7,
    "Q1.6": 6,
    "Q2.5": 5,
    "Q3.4": 4,
    "Q4.3": 3,
}  # 8 bits; the number is that of fraction bits
TRAINED_FRACTION_BITS = (5, 3)

Digits = tuple[torch.Tensor, torch.Tensor]


class Separable(torch.nn.Module):
    """Depthwise 3x3 convolution and pointwise convolution, each with BatchNormalization and ReLU6."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = torch.nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
        self.norm1 = torch.nn.BatchNorm2d(channels, eps=1e-3)
        self.relu1 = torch.nn.ReLU6()
        self.pointwise = torch.nn.Conv2d(channels, out_channels, 1, bias=False)
        self.norm2 = torch.nn.BatchNorm2d(out_channels, eps=1e-3)
        self.relu2 = torch.nn.ReLU6()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return float32 [N, out_channels, H / stride, W / stride] for float32 [N, channels, H, W]."""
        x = self.relu1(self.norm1(self.depthwise(x)))
        return self.relu2(self.norm2(self.pointwise(x)))


class Digits10(torch.nn.Module):
    """Small MobileNet: 28x28 grey images to the logits of ten digits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(16, eps=1e-3)
        self.relu = torch.nn.ReLU6()
        self.block1 = Separable(16, 32, 1)
        self.block2 = Separable(32, 48, 2)
        self.block3 = Separable(48, 64, 1)
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.flatten = torch.nn.Flatten()
        self.classifier = torch.nn.Linear(64, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits [N, 10] for float32 [N, 1, 28, 28] in [0, 1]."""
        x = self.relu(self.norm(self.stem(image)))
        x = self.block3(self.block2(self.block1(x)))
        logits: torch.Tensor = self.classifier(self.flatten(self.pool(x)))
        return logits


# --- 8-bit fixed point, simulated in floats


def to_format(x: torch.Tensor, fraction_bits: int) -> torch.Tensor:
    """Round and saturate to 8 bits with so many fraction bits; gradients pass inside the range."""
    step = 2.0**-fraction_bits
    inside = x.clamp(-128 * step, 127 * step)
    return inside + ((inside / step).round() * step - inside).detach()


def finest_8bit(weight: torch.Tensor) -> torch.Tensor:
    """Round a weight tensor to the finest 8-bit format that holds all of its values."""
    peak = weight.detach().abs().max().item()
    fraction_bits = 7 - math.ceil(math.log2(peak))
    if peak * 2.0**fraction_bits > 127.5:
        fraction_bits -= 1
    return to_format(weight, fraction_bits)


def folded(conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of a convolution with the BatchNormalization after it folded in."""
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return conv.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain


def pairs(model: Digits10) -> list[tuple[torch.nn.Conv2d, torch.nn.BatchNorm2d]]:
    """Return every convolution with the BatchNormalization after it, in order."""
    layers = [(model.stem, model.norm)]
    for block in (model.block1, model.block2, model.block3):
        layers += [(block.depthwise, block.norm1), (block.pointwise, block.norm2)]
    return layers


def fixed_point(model: Digits10, image: torch.Tensor, fraction_bits: int) -> torch.Tensor:
    """Run with folded 8-bit weights and every activation, the image included, in one 8-bit format."""
    x = to_format(image, fraction_bits)
    for conv, norm in pairs(model):
        weight, bias = folded(conv, norm)
        x = fn.conv2d(x, finest_8bit(weight), bias, conv.stride, conv.padding, groups=conv.groups)
        x = to_format(fn.relu6(x), fraction_bits)
    x = to_format(x.mean((2, 3)), fraction_bits)
    last = model.classifier
    return to_format(fn.linear(x, finest_8bit(last.weight), last.bias), fraction_bits)


# --- training


def split(path: Path, seed: int) -> tuple[dict[str, NDArray[np.uint8]], Digits]:
    """Hold out a tenth of each digit's images.

    Returns
    -------
    held_out : dict of str to ndarray
        ``images`` uint8 [1000, 28, 28] and ``labels`` uint8 [1000].
    training : tuple of torch.Tensor
        float32 [9000, 1, 28, 28] in [0, 1], and int64 [9000].
    """
    with np.load(path) as data:
        images, labels = data["images"], data["labels"].astype(np.uint8)
    rng = np.random.default_rng(seed)
    shares = np.bincount(labels, minlength=10) / 10
    counts = np.floor(shares).astype(int)
    # The counts are rounded down; the digits that lost most get one more, to reach a thousand.
    counts[np.argsort(counts - shares, kind="stable")[: len(labels) // 10 - counts.sum()]] += 1
    chosen_of_digit = [
        rng.permutation(np.flatnonzero(labels == digit))[:count] for digit, count in enumerate(counts.tolist())
    ]
    chosen = rng.permutation(np.concatenate(chosen_of_digit))
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return {"images": images[chosen], "labels": labels[chosen]}, as_tensors(images[rest], labels[rest])


def as_tensors(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Digits:
    """Return uint8 images [N, 28, 28] and labels [N] as float32 [N, 1, 28, 28] in [0, 1] and int64 [N]."""
    return torch.from_numpy(images)[:, None].float() / 255, torch.from_numpy(labels).long()


def augmented(images: torch.Tensor) -> torch.Tensor:
    """Return the images, each shifted, rotated and scaled slightly."""
    count = len(images)
    angle = (torch.rand(count) - 0.5) * 0.35
    size = 1 + (torch.rand(count) - 0.5) * 0.2
    shift = (torch.rand(count, 2) - 0.5) * (2 * 4 / 28)
    cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
    matrix = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], 1).reshape(count, 2, 3)
    grid = fn.affine_grid(matrix, list(images.shape), align_corners=False)
    return fn.grid_sample(images, grid, align_corners=False)


def batches(training: Digits, size: int) -> Iterator[Digits]:
    """Yield one epoch of augmented batches."""
    images, labels = training
    for chosen in torch.randperm(len(images)).split(size):
        yield augmented(images[chosen]), labels[chosen]


def train(model: Digits10, training: Digits, held_out: Digits, arguments: argparse.Namespace) -> None:
    """Train by AdamW with cosine decay; the last third with normalization frozen, every other batch in fixed point."""
    # Weight decay applies to the scales of BatchNormalization too: one large channel widens the format of its tensor.
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.lr, weight_decay=arguments.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.epochs, eta_min=arguments.lr / 100)
    start = time.monotonic()
    for epoch in range(arguments.epochs):
        tuning = epoch >= arguments.epochs * 2 // 3
        model.train(not tuning)
        for step, (images, labels) in enumerate(batches(training, arguments.batch)):
            if tuning and step % 2:
                logits = fixed_point(model, images, TRAINED_FRACTION_BITS[step // 2 % 2])
            else:
                logits = model(images)
            loss = fn.cross_entropy(logits, labels, label_smoothing=0.05)
            # BatchNormalization divides a channel that hardly varies by almost 0: its large weights widen the format.
            weights = [folded(conv, norm)[0] for conv, norm in pairs(model)]
            loss = loss + 0.01 * sum(fn.relu(weight.abs() - 0.95).square().sum() for weight in weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        if epoch % 5 == 4 or epoch == arguments.epochs - 1:
            figures = "  ".join(f"{value:.3f}" for value in measure(model, held_out).values())
            print(f"epoch {epoch + 1}: held out {figures}  ({time.monotonic() - start:.0f} s)", flush=True)


# --- measuring and writing


def measure(model: Digits10, digits: Digits) -> dict[str, float]:
    """Return the share of digits that are recognised, in float32 and in each format of `FORMATS`."""
    images, labels = digits
    model.eval()
    with torch.no_grad():
        logits = {"float32": model(images)}
        logits |= {name: fixed_point(model, images, bits) for name, bits in FORMATS.items()}
    return {name: (value.argmax(1) == labels).float().mean().item() for name, value in logits.items()}


def describe(model: Digits10, held_out: Digits) -> None:
    """Print the accuracies, and the spread of the channels of each folded depthwise weight."""
    for name, accuracy in measure(model, held_out).items():
        print(f"{name:<8} {accuracy * 100:.1f} %")
    for name in ("block1", "block2", "block3"):
        block = getattr(model, name)
        peaks = folded(block.depthwise, block.norm1)[0].detach().abs().amax((1, 2, 3))
        print(f"{name} depthwise: largest weight {peaks.max():.2f}, median channel {peaks.median():.2f}")


def write(model: Digits10, held_out: dict[str, NDArray[np.uint8]], folder: Path) -> None:
    """Write digits.onnx and digits_heldout.npz."""
    export(
        copy.deepcopy(model),
        (torch.zeros(1, 1, 28, 28),),
        folder / "digits.onnx",
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
        opset=17,
        keep_batchnorm=True,
        readable_names=True,
    )
    with replacing(folder / "digits_heldout.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **held_out)


def main() -> None:
    """Train, write and measure the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the .npz file of digits")
    parser.add_argument("--out", type=Path, default=Path("qengine/data/zoo"), help="folder to write to")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=4e-3, help="learning rate at the start")
    parser.add_argument("--decay", type=float, default=0.02, help="weight decay")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    held_out_arrays, training = split(arguments.data, arguments.seed)
    held_out = as_tensors(held_out_arrays["images"], held_out_arrays["labels"])
    model = Digits10()
    train(model, training, held_out, arguments)
    write(model, held_out_arrays, arguments.out)
    describe(model, held_out)


if __name__ == "__main__":
    main()
