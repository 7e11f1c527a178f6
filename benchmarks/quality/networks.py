"""Small networks, trained on drawn data for a minute each, with samples beside them: what the table is measured on.

    python benchmarks/quality/networks.py DIR [--public MODELS] [NAME ...]

writes NAME.onnx and NAME.npz. Seeds are fixed; --public copies the models of a folder that `public_models` knows.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import drawings
import numpy as np
import public_models
import torch
from cases import write_case
from modules import Bert, Detector, Keyword, ResidualDense, UNet, Vit
from torch import nn
from torch.nn import functional

from qengine import open_dataset, zoo
from qengine.model.loader import load

_MAKERS: dict[str, Callable[[Path], None]] = {}
_OPSET = 17
_CALIBRATION = 16
_FRAMES, _BANDS = 24, 20
Batch = tuple[torch.Tensor, ...]


def _network(maker: Callable[[Path], None]) -> Callable[[Path], None]:
    """Add a function that writes a model and its samples to a path, under its name."""
    _MAKERS[maker.__name__] = maker
    return maker


def _batches(arrays: Batch, size: int, steps: int, rng: np.random.Generator) -> Iterator[Batch]:
    for _ in range(steps):
        chosen = torch.from_numpy(rng.integers(0, len(arrays[0]), size))
        yield tuple(array[chosen] for array in arrays)


def _train(
    module: nn.Module,
    arrays: Batch,
    loss: Callable[..., torch.Tensor],
    *,
    steps: int,
    size: int = 32,
    rate: float = 3e-3,
) -> None:
    """Train a module on batches of arrays with Adam, with a rate that rises and falls once."""
    optimizer = torch.optim.AdamW(module.parameters(), rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    module.train()
    for batch in _batches(arrays, size, steps, np.random.default_rng(0)):
        optimizer.zero_grad()
        value = loss(*batch)
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    module.eval()
    print(f"  last loss {value.item():.4f}", file=sys.stderr)


def _export(module: nn.Module, path: Path, inputs: dict[str, torch.Tensor]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), tuple(inputs.values()), str(path), input_names=list(inputs), output_names=["y"],
            opset_version=_OPSET, dynamo=False,
        )  # fmt: skip


def _single(module: nn.Module, path: Path, x: torch.Tensor, task: str, labels: np.ndarray | None, name: str) -> None:
    """Export a module with one input, and write its samples: the first for calibration, the others to measure."""
    _export(module, path, {name: x[:1]})
    runs = x[:, None].numpy()
    labels = None if labels is None else labels[_CALIBRATION:, None]
    write_case(path, {name: runs[:_CALIBRATION]}, {name: runs[_CALIBRATION:]}, task, labels)


def _drawn(seed: int, count: int, size: int, most: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Return pictures with shapes (count, 3, size, size) in 0 to 1, their masks and their boxes."""
    rng = np.random.default_rng(seed)
    found = [drawings.shapes(rng, size, most) for _ in range(count)]
    pixels, masks, boxes = (np.stack(part) for part in zip(*found, strict=True))
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255), masks, boxes


@_network
def shape_detector(path: Path) -> None:
    """Write a detector of shapes with one joined head: boxes of up to 128 pixels beside scores of up to 1."""
    size, most, large = 128, 4, 38
    module = Detector(len(drawings.SHAPES), size)
    x, _, boxes = _drawn(10, 2000, size, most)

    def loss(image: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        found, logits = module.raw(image)
        target = torch.zeros_like(logits)
        near = torch.zeros((), dtype=torch.float32)
        for k in range(most):
            kind, corners = wanted[:, k, 0], wanted[:, k, 2:]
            used = torch.nonzero(kind >= 0)[:, 0]
            box = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)[used]
            far = (module.centres[None] - box[:, :2, None]).abs().amax(1) / module.strides
            fits = (box[:, 2, None] > large) == (module.strides > 8)  # every shape belongs to one level
            row, place = torch.nonzero((far <= 0.75) & fits, as_tuple=True)
            target[used[row], kind[used[row]].long(), place] = 1
            own, right, stride = found[used[row], :, place], box[row], module.strides[0, place, None]
            near = near + functional.smooth_l1_loss(own[:, :2] / stride, right[:, :2] / stride, reduction="sum")
            near = near + 4 * functional.smooth_l1_loss(own[:, 2:].log(), right[:, 2:].log(), reduction="sum")
        # Focal loss (Lin et al. 2017): the many places without a shape do not outweigh the few with one.
        hard = (torch.sigmoid(logits) - target) ** 2
        scores = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return ((scores * hard).sum() + near) / len(image)

    _train(module, (x, torch.from_numpy(boxes).float()), loss, steps=900, size=12, rate=6e-3)
    test, _, right = _drawn(11, _CALIBRATION + 48, size, most)
    _single(module, path, test, "boxes", right.astype(np.float32), "image")


@_network
def shape_unet(path: Path) -> None:
    """Write a U-Net that finds the shape of each pixel."""
    module = UNet(len(drawings.SHAPES) + 1)
    x, masks, _ = _drawn(20, 600, 64, 4)
    _train(
        module,
        (x, torch.from_numpy(masks)),
        lambda a, b: functional.cross_entropy(module(a), b),
        steps=500,
        size=12,
        rate=5e-3,
    )
    test, right, _ = _drawn(21, _CALIBRATION + 48, 64, 4)
    _single(module, path, test, "segmentation", right, "image")


@_network
def digit_vit(path: Path) -> None:
    """Write a vision transformer that names digits."""
    module = Vit(32, 10)
    batches = list(open_dataset("digits", load(zoo.find("digits").path)).batches())
    x = functional.pad(torch.from_numpy(np.concatenate([next(iter(one.feeds.values())) for one in batches])), [2] * 4)
    labels = torch.from_numpy(np.concatenate([one.labels for one in batches]))

    def loss(image: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        shift = tuple(int(n) for n in torch.randint(-2, 3, (2,)))
        return functional.cross_entropy(module(torch.roll(image, shift, (2, 3))), wanted)

    held_out = _CALIBRATION + 200
    _train(module, (x[held_out:], labels[held_out:]), loss, steps=600, size=48, rate=2e-3)
    _single(module, path, x[:held_out], "top1", labels[:held_out].numpy(), "image")


def _photographs(names: tuple[str, ...], side: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pieces of scikit-image's photographs at half resolution and whole."""
    import skimage.data

    rng, pieces = np.random.default_rng(seed), []
    images = [np.asarray(getattr(skimage.data, name)()) for name in names]
    for i in range(count):
        image = images[i % len(images)]
        top, left = (int(rng.integers(0, n - side)) for n in image.shape[:2])
        piece = image[top : top + side, left : left + side, :3]
        pieces.append(piece if rng.random() < 0.5 else piece[:, ::-1])
    whole = torch.from_numpy(np.stack(pieces).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    half = functional.interpolate(whole, scale_factor=0.5, mode="bilinear", antialias=True)
    return (half.clamp(0, 1) * 255).round() / 255, whole


@_network
def residual_dense_x2(path: Path) -> None:
    """Write a residual dense network for twice the resolution."""
    module = ResidualDense()
    low, high = _photographs(("astronaut", "coffee", "rocket"), 48, 1500, 40)
    _train(module, (low, high), lambda a, b: functional.l1_loss(module(a), b), steps=250, size=8, rate=2e-3)
    low, high = _photographs(("chelsea",), 96, _CALIBRATION + 16, 41)
    _single(module, path, low, "psnr", high.numpy(), "image")


def _sounds(seed: int, count: int) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 10, count)
    return torch.from_numpy(np.stack([drawings.tones(rng, int(kind), _FRAMES, _BANDS) for kind in kinds])), kinds


def _keyword(path: Path, kind: type[nn.RNNBase]) -> None:
    module = Keyword(kind, _BANDS, 10)
    x, kinds = _sounds(50, 3000)
    labels = torch.from_numpy(kinds)
    _train(module, (x, labels), lambda a, b: functional.cross_entropy(module(a), b), steps=250, size=32, rate=5e-3)
    test, right = _sounds(51, _CALIBRATION + 200)
    _single(module, path, test, "top1", right, "bands")


@_network
def keyword_lstm(path: Path) -> None:
    """Write a recogniser of tones with LSTMs."""
    _keyword(path, nn.LSTM)


@_network
def keyword_gru(path: Path) -> None:
    """Write a recogniser of tones with GRUs."""
    _keyword(path, nn.GRU)


def _sentences(seed: int, count: int, places: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tokens, padded with 0, the mask of those that count, and the commonest of their four kinds."""
    rng = np.random.default_rng(seed)
    tokens, labels = np.zeros((count, places), np.int64), np.zeros(count, np.int64)
    for row, i in zip(tokens, range(count), strict=True):
        while True:
            own = rng.integers(1, 65, int(rng.integers(6, places)))
            counts = np.sort(np.bincount(own % 4, minlength=4))
            if counts[-1] >= counts[-2] + 2:
                break
        row[: len(own)], labels[i] = own, np.bincount(own % 4, minlength=4).argmax()
    return tokens, (tokens > 0).astype(np.int64), labels


@_network
def token_bert(path: Path) -> None:
    """Write a BERT that names the commonest kind of a text's tokens, with a mask for the padding."""
    module = Bert(65, 4, 32)
    tokens, mask, labels = map(torch.from_numpy, _sentences(60, 4000, 32))
    _train(
        module, (tokens, mask, labels), lambda a, m, b: functional.cross_entropy(module(a, m), b), steps=300, size=48,
        rate=1e-3,
    )  # fmt: skip
    tokens, mask, right = _sentences(61, _CALIBRATION + 200, 32)
    _export(module, path, {"tokens": torch.from_numpy(tokens[:1]), "mask": torch.from_numpy(mask[:1])})
    runs = {"tokens": tokens[:, None], "mask": mask[:, None]}
    parts = [{name: a[part] for name, a in runs.items()} for part in (slice(_CALIBRATION), slice(_CALIBRATION, None))]
    write_case(path, *parts, "top1", right[_CALIBRATION:, None])


def _bundled(path: Path, name: str, task: str, calibration: int) -> None:
    """Copy a bundled model and its data set; the first samples serve for calibration."""
    entry = zoo.find(name)
    shutil.copyfile(entry.path, path)
    batches = list(open_dataset(name, load(path)).batches())
    runs = {key: np.stack([np.asarray(one.feeds[key]) for one in batches]) for key in batches[0].feeds}
    right = [one.labels if task == "top1" else next(iter(one.targets.values())) for one in batches]
    first, rest = ({k: a[part] for k, a in runs.items()} for part in (slice(calibration), slice(calibration, None)))
    write_case(path, first, rest, task, np.stack(right)[calibration:])


@_network
def digits(path: Path) -> None:
    """Write the bundled classifier of digits."""
    _bundled(path, "digits", "top1", 32)


@_network
def srcnn(path: Path) -> None:
    """Write the bundled super-resolution network."""
    _bundled(path, "srcnn", "psnr", 2)


def main() -> None:
    """Parse the command line, train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_MAKERS))
    parser.add_argument("--public", type=Path, metavar="MODELS", help="folder of public models to take too")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(_MAKERS):
        parser.error(f"no network is named {', '.join(sorted(unknown))}; there are {', '.join(_MAKERS)}")
    torch.set_num_threads(1)  # small layers gain nothing from more
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.public:
        public_models.write(arguments.public, arguments.folder)
    for name in arguments.names or _MAKERS:
        torch.manual_seed(0)
        start = time.perf_counter()
        _MAKERS[name](arguments.folder / f"{name}.onnx")
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
