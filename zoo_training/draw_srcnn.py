"""Draw the image of the README: the sample enlarged by bicubic, and by the network in float32, Q4.3 and Q0.7."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import qengine
from qengine import zoo
from qengine.data.images import planes_of
from qengine.metrics.psnr import psnr

_GAP, _BAND = 8, 26


def main() -> None:
    """Write the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/srcnn.png"))
    out = parser.parse_args().out
    entry = zoo.ENTRIES["srcnn"]
    sample = entry.sample()
    float32 = qengine.InferenceSession(entry.path)
    tensors = {"bicubic": float32.run(["upscaled"], sample.feeds)[0], "float32": float32.run(None, sample.feeds)[0]}
    for qformat in ("Q4.3", "Q0.7"):
        tensors[qformat] = qengine.InferenceSession(entry.path, qformat=qformat).run(None, sample.feeds)[0]
    scale = entry.preprocessing
    truth = scale.to_pixels(planes_of(sample.target))
    height, width = truth.shape[:2]
    sheet = Image.new("RGB", ((width + _GAP) * len(tensors) - _GAP, height + _BAND), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(16)
    for i, (label, tensor) in enumerate(tensors.items()):
        pixels = scale.to_pixels(planes_of(tensor))
        left = i * (width + _GAP)
        sheet.paste(Image.fromarray(np.rint(pixels).astype(np.uint8)), (left, _BAND))
        draw.text((left + 2, 4), f"{label}: {psnr(pixels, truth):.2f} dB", "black", font)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, optimize=True)


if __name__ == "__main__":
    main()
