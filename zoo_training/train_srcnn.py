"""Train the bundled SRCNN on scikit-image's photographs, measure it, and write it with its sample image.

    python zoo_training/train_srcnn.py --out qengine/data/zoo

A low-res image is the photograph reduced by bilinear interpolation with antialiasing (a triangle two low-res
pixels wide, as Pillow does it), rounded to 8 bits. Training sees it enlarged by torch's own bicubic kernel
(a = -0.75, no antialiasing), as `qengine.torch_export.bicubic_resize` enlarges it in the exported model.
PSNR is over all pixels and the three channels of RGB in [0, 1], output clipped to [0, 1], no border left out.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import skimage.data
import torch  # noqa: TID251 - a training script
from PIL import Image
from torch.nn import functional as fn  # noqa: TID251 - a training script
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # noqa: TID251 - a training script

from qengine.torch_export import SRCNN, bicubic_resize, export

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Photographs with their weights in the draw, which are largest for sharp ones with natural colours.
TRAINING = {
    "astronaut": 3.0,
    "motorcycle": 2.0,
    "rocket": 1.0,
    "hubble": 0.5,
    "ihc": 1.0,
    "camera": 1.0,
    "brick": 0.5,
    "coins": 1.0,
}
HELD_OUT = ("chelsea", "coffee")
SAMPLE = ("chelsea", 0, 60, 300)  # photograph, top, left, side: the face of the cat
FORMATS = {"Q0.7": 7, "Q1.6": 6, "Q4.3": 3}  # 8 bits; the number is that of fraction bits
TRAINED_FORMATS = (7, 6)
BORDER = 6  # pixels whose result depends on the zero padding of a patch, through three convolutions

Pair = tuple[torch.Tensor, torch.Tensor]
Rounding = Callable[[torch.Tensor], torch.Tensor]


def photographs(name: str) -> list[NDArray[np.uint8]]:
    """Return the images that scikit-image has under a name as uint8 [H, W, 3]; a grey image has equal channels."""
    if name == "motorcycle":
        images = list(skimage.data.stereo_motorcycle()[:2])
    else:
        aliases = {"hubble": "hubble_deep_field", "ihc": "immunohistochemistry"}
        images = [getattr(skimage.data, aliases.get(name, name))()]
    return [np.dstack([image] * 3) if image.ndim == 2 else image[..., :3] for image in images]


def tensor(image: NDArray[np.uint8]) -> torch.Tensor:
    """Return a uint8 image [H, W, 3] as float32 [1, 3, H, W] in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def low_res(truth: torch.Tensor, factor: int) -> torch.Tensor:
    """Return an image reduced by bilinear interpolation with antialiasing, and rounded to 8 bits."""
    small = fn.interpolate(truth, scale_factor=1 / factor, mode="bilinear", antialias=True)
    return (small.clamp(0, 1) * 255).round() / 255


def scales(factor: float) -> torch.Tensor:
    """Return the second input of SRCNN for one factor on both axes."""
    return torch.tensor([1.0, 1.0, factor, factor])


def pair(truth: torch.Tensor, factor: int) -> Pair:
    """Return the enlarged low-res image and the truth, cropped to a multiple of the factor."""
    height, width = (size // factor * factor for size in truth.shape[-2:])
    truth = truth[..., :height, :width]
    return bicubic_resize(low_res(truth, factor), scales(factor)), truth


def psnr(output: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB; see the docstring of this file."""
    return -10 * math.log10(torch.mean((output.clamp(0, 1) - truth) ** 2).item())


# --- 8-bit fixed point, simulated in floats


def to_format(fraction_bits: int) -> Rounding:
    """Return a function that rounds to 8 bits with so many fraction bits; gradients pass inside the range."""
    step = 2.0**-fraction_bits

    def rounded(x: torch.Tensor) -> torch.Tensor:
        inside = x.clamp(-128 * step, 127 * step)
        return inside + ((inside / step).round() * step - inside).detach()

    return rounded


def finest_8bit(weight: torch.Tensor) -> torch.Tensor:
    """Round a weight tensor to the finest 8-bit format that holds all of its values."""
    fraction_bits = 7 - math.ceil(math.log2(weight.detach().abs().max().item()))
    while weight.detach().abs().max().item() * 2.0**fraction_bits > 127.5:
        fraction_bits -= 1
    return to_format(fraction_bits)(weight)


def refine(
    model: SRCNN, upscaled: torch.Tensor, rounding: Rounding | None = None
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Run the three convolutions, in float32 or with weights and activations rounded.

    Returns
    -------
    output, hidden
        float32 [N, 3, H, W], and the outputs of conv1 and conv2 before saturation.
    """
    activation = rounding or (lambda x: x)
    weight = finest_8bit if rounding else (lambda x: x)
    x, hidden = activation(upscaled), []
    for conv in (model.conv1, model.conv2):
        x = torch.relu(fn.conv2d(x, weight(conv.weight), conv.bias, padding=conv.padding))
        hidden.append(x)
        x = activation(x)
    last = model.conv3
    return activation(fn.conv2d(x, weight(last.weight), last.bias, padding=last.padding)), hidden


# --- training


def initialise(model: SRCNN) -> None:
    """Initialise the network as the identity: a few channels pass the colours on, the others begin as small noise.

    No weight is above 1/2, so that the finest 8-bit format of each tensor begins with a step of 2^-8.
    """
    with torch.no_grad():
        for conv in (model.conv1, model.conv2, model.conv3):
            fan_in = conv.weight[0].numel()
            conv.weight.normal_(0, 0.4 / math.sqrt(fan_in))
            conv.bias.zero_()
        model.conv3.weight *= 0.02
        for channel in range(12):
            colour = channel % 3
            model.conv1.weight[channel] *= 0.02
            model.conv1.weight[channel, colour, 4, 4] += 0.45
            model.conv2.weight[channel] *= 0.02
            model.conv2.weight[channel, colour:12:3, 0, 0] += 0.45
            model.conv3.weight[colour, channel, 2, 2] += 1 / (0.45 * 0.45 * 4 * 4)


def training_pairs() -> list[tuple[Pair, float]]:
    """Return every training photograph at several sizes and both factors, with its weight in the draw."""
    weighted = []
    for name, interest in TRAINING.items():
        for image in photographs(name):
            for shrink in (1.0, 0.75, 0.5):
                truth = tensor(image)
                if shrink < 1:
                    truth = fn.interpolate(truth, scale_factor=shrink, mode="bicubic", antialias=True)
                    truth = (truth.clamp(0, 1) * 255).round() / 255
                for factor, share in ((2, 0.25), (3, 0.75)):
                    weighted.append((pair(truth, factor), interest * share * truth[0, 0].numel() ** 0.5))
    return weighted


def batches(rng: np.random.Generator, size: int, patch: int) -> Iterator[Pair]:
    """Yield endless batches of random patches, flipped, transposed and with channels permuted."""
    weighted = training_pairs()
    chances = np.array([weight for _, weight in weighted])
    chances /= chances.sum()
    while True:
        drawn = []
        for index in rng.choice(len(weighted), size, p=chances):
            upscaled, truth = weighted[index][0]
            top, left = (int(rng.integers(0, extent - patch + 1)) for extent in truth.shape[-2:])
            both = torch.cat([t[..., top : top + patch, left : left + patch] for t in (upscaled, truth)])
            if rng.random() < 0.3:
                both = both[:, torch.from_numpy(rng.permutation(3))]
            if rng.random() < 0.5:
                both = both.transpose(-1, -2)
            drawn.append(both.flip([axis for axis in (-1, -2) if rng.random() < 0.5]))
        stacked = torch.stack(drawn)
        yield stacked[:, 0], stacked[:, 1]


def loss(model: SRCNN, upscaled: torch.Tensor, truth: torch.Tensor, rounding: Rounding | None) -> torch.Tensor:
    """Return the squared error relative to that of bicubic, plus penalties for values that 8-bit formats lose."""
    output, hidden = refine(model, upscaled, rounding)
    # A patch has more border, where a convolution sees zero padding, than an image.
    importance = torch.full(truth.shape[-2:], 0.15)
    importance[BORDER:-BORDER, BORDER:-BORDER] = 1
    importance /= importance.mean()
    error, bicubic = ((importance * (x - truth) ** 2).mean((1, 2, 3)) for x in (output, upscaled))
    # Relative, not absolute: then a smooth photograph counts as much as a rough one.
    share = (error / (bicubic + 3e-4)).mean()
    # Penalties for activations that saturate in Q0.7, and for weights that widen the format of their tensor.
    excess = sum(fn.relu(x - 0.95).square().mean() for x in hidden)
    convolutions = (model.conv1, model.conv2, model.conv3)
    wide = sum(fn.relu(conv.weight.abs() - 0.49).square().sum() for conv in convolutions)
    return share + 30 * excess + 10 * wide


def train(model: SRCNN, arguments: argparse.Namespace) -> SRCNN:
    """Train by Adam with a warm-up and cosine decay, the second half with every other step in fixed point.

    Returns
    -------
    SRCNN
        The running mean of the weights.
    """
    supply = batches(np.random.default_rng(arguments.seed), arguments.batch, arguments.patch)
    early = [*model.conv1.parameters(), *model.conv2.parameters()]
    # Adam moves all weights by a similar amount, and the 800 weights of an output of conv3 shift the whole image.
    optimizer = torch.optim.Adam(
        [{"params": early}, {"params": model.conv3.parameters(), "lr": arguments.lr / 5}], lr=arguments.lr
    )
    steps = arguments.epochs * arguments.steps

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / 1000) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    start = time.monotonic()
    for epoch in range(arguments.epochs):
        fixed_point = epoch >= arguments.epochs // 2
        total = 0.0
        for step in range(arguments.steps):
            rounding = None
            if fixed_point and step % 2:
                rounding = to_format(TRAINED_FORMATS[step // 2 % len(TRAINED_FORMATS)])
            cost = loss(model, *next(supply), rounding)
            optimizer.zero_grad()
            cost.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            mean.update_parameters(model)
            total += cost.item()
        if epoch % arguments.report == arguments.report - 1 or epoch == arguments.epochs - 1:
            figures = [measure(mean.module, name, 3) for name in HELD_OUT]
            print(
                f"epoch {epoch + 1}: loss {total / arguments.steps:.4f}, x3 over bicubic:",
                *(f"{name} {kind[name] - kind['bicubic']:+.3f}" for kind in figures for name in ("float32", "Q0.7")),
                f"({time.monotonic() - start:.0f} s)",
                flush=True,
            )
            write(mean.module, arguments.out)
    return mean.module


# --- measuring and writing


def sample() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the sample, uint8 [100, 100, 3], and the original, uint8 [300, 300, 3], which it is a x3 reduction of."""
    name, top, left, side = SAMPLE
    original = photographs(name)[0][top : top + side, left : left + side]
    small = (low_res(tensor(original), 3)[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return small, original


def measure(model: SRCNN, name: str, factor: int) -> dict[str, float]:
    """Return the PSNR in dB of a photograph, or of "sample", by bicubic, float32 and each format of `FORMATS`."""
    truth = tensor(sample()[1] if name == "sample" else photographs(name)[0])
    upscaled, truth = pair(truth, factor)
    with torch.no_grad():
        result = {"bicubic": psnr(upscaled, truth), "float32": psnr(refine(model, upscaled)[0], truth)}
        for label, fraction_bits in FORMATS.items():
            # The low-res image is an activation too.
            height, width = truth.shape[-2:]
            rounding = to_format(fraction_bits)
            small = rounding(low_res(truth, factor))
            enlarged = bicubic_resize(small, scales(factor))[..., :height, :width]
            result[label] = psnr(refine(model, enlarged, rounding)[0], truth)
    return result


def table(model: SRCNN) -> None:
    """Print the PSNR of the sample and the held-out photographs, and the largest values of each tensor."""
    rows = [("sample", 3)] + [(name, factor) for factor in (3, 2) for name in HELD_OUT]
    for index, (name, factor) in enumerate(rows):
        figures = measure(model, name, factor)
        if index == 0:
            print(f"{'PSNR, dB':<14}" + "".join(f"{label:>9}" for label in figures))
        print(f"{name + ' x' + str(factor):<14}" + "".join(f"{value:9.3f}" for value in figures.values()))
    gains = [figures["float32"] - figures["bicubic"] for figures in (measure(model, name, 3) for name in HELD_OUT)]
    print(f"mean gain over bicubic on the held-out photographs at x3: {np.mean(gains):.3f} dB")
    with torch.no_grad():
        for name in HELD_OUT:
            upscaled, _ = pair(tensor(photographs(name)[0]), 3)
            output, hidden = refine(model, upscaled)
            ranges = [f"{x.min().item():.2f}..{x.max().item():.2f}" for x in (upscaled, *hidden, output)]
            print(f"ranges on {name}: upscaled, relu1, relu2, output = {', '.join(ranges)}")
    peaks = [f"{conv.weight.abs().max().item():.3f}" for conv in (model.conv1, model.conv2, model.conv3)]
    print(f"largest weights: {', '.join(peaks)}")


def write(model: SRCNN, folder: Path) -> None:
    """Write srcnn.onnx, its sample and the original of the sample."""
    small, original = sample()
    Image.fromarray(small).save(folder / "srcnn_sample.png", optimize=True)
    Image.fromarray(original).save(folder / "srcnn_original.png", optimize=True)
    export(
        copy.deepcopy(model),
        (tensor(small), scales(3)),
        folder / "srcnn.onnx",
        input_names=["input", "factor"],
        output_names=["output"],
        dynamic_axes={
            "input": {0: "N", 2: "H", 3: "W"},
            "output": {0: "N", 2: "H_out", 3: "W_out"},
        },
        opset=17,
        readable_names=True,
    )


def main() -> None:
    """Train, write and measure the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("qengine/data/zoo"), help="folder to write to")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400, help="batches in an epoch")
    parser.add_argument("--batch", type=int, default=16, help="patches in a batch")
    parser.add_argument("--patch", type=int, default=40, help="side of a patch, pixels")
    parser.add_argument("--lr", type=float, default=5e-4, help="learning rate at the start")
    parser.add_argument("--report", type=int, default=5, help="measure and write every so many epochs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    model = SRCNN().to(memory_format=torch.channels_last)
    initialise(model)
    model = train(model, arguments)
    write(model, arguments.out)
    table(model)


if __name__ == "__main__":
    main()
