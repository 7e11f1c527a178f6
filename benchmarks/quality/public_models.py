"""Samples for public models of others, which are not bundled: the text models of rapidocr.

The pictures are prepared as those packages do. What a file is, its name says.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from cases import write_case
from drawings import text_line, text_page, words

_CALIBRATION, _TEST = 16, 32
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _planes(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (H, W, 3) as (1, 3, H, W) in float32."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def _lines(rng: np.random.Generator, count: int, width: int, letters: tuple[int, int]) -> tuple[list, list]:
    """Return lines of text that fit a width at 48 rows, in -1 to 1 and 0 beyond their end, and their texts."""
    lines, texts = [], []
    while len(lines) < count:
        text = words(rng, int(rng.integers(*letters)))
        pixels, own = text_line(rng, text, 48, width)
        line = pixels / 127.5 - 1
        line[:, own:] = 0
        if own < width:
            lines.append(line)
            texts.append(text)
    return lines, texts


def recogniser(path: Path) -> None:
    """Write lines of text and their letters beside a CTC recogniser of PaddleOCR."""
    rng = np.random.default_rng(1)
    lines, texts = _lines(rng, _CALIBRATION + _TEST, 320, (5, 14))
    x = np.stack([_planes(line) for line in lines])
    write_case(path, {"x": x[:_CALIBRATION]}, {"x": x[_CALIBRATION:]}, "text", np.array(texts[_CALIBRATION:])[:, None])


def direction(path: Path) -> None:
    """Write lines of text, half of them turned by 180 degrees, beside a classifier of the direction."""
    rng = np.random.default_rng(2)
    count = _CALIBRATION + 4 * _TEST
    lines, _ = _lines(rng, count, 192, (2, 9))
    turned = rng.integers(0, 2, count)
    for line, is_turned in zip(lines, turned, strict=True):
        if is_turned:
            own = int(np.flatnonzero(line.any(axis=(0, 2))).max()) + 1
            line[:, :own] = line[::-1, own - 1 :: -1] if own < line.shape[1] else line[::-1, ::-1]
    x = np.stack([_planes(line) for line in lines])
    write_case(path, {"x": x[:_CALIBRATION]}, {"x": x[_CALIBRATION:]}, "top1", turned[_CALIBRATION:, None])


def text_map(path: Path) -> None:
    """Write pages of text beside a detector of text; right is the map that float32 gives."""
    rng = np.random.default_rng(3)
    pages = [_planes((text_page(rng, 320) / 255 - _MEAN) / _DEVIATION) for _ in range(_CALIBRATION + _TEST // 2)]
    x = np.stack(pages)
    write_case(path, {"x": x[:_CALIBRATION]}, {"x": x[_CALIBRATION:]}, "map")


KINDS = {"PP-OCRv4_rec": recogniser, "mobile_v2.0_cls": direction, "PP-OCRv4_det": text_map}
"""Function that writes the samples of a model, by a part of its file's name."""


def write(models: Path, folder: Path) -> None:
    """Copy the models of a folder that are known here, and write samples beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(models.glob("**/*.onnx")):
        for part, samples in KINDS.items():
            if part in path.name:
                copy = folder / path.name.rpartition("__")[2]
                shutil.copyfile(path, copy)
                samples(copy)
