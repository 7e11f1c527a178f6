"""Pictures and sounds that are drawn from random numbers: lines and pages of text, shapes, textures, tones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_TEXT = (
    "about after again animal answer before below between bridge carry change city close country cross different "
    "earth enough every family father field figure follow found garden great group heard house hundred island "
    "kind large late letter light machine measure money morning mother mountain music never night number other "
    "paper people picture place plant point power question river school second sentence should simple small sound "
    "spell stand state story study table their thing think through town travel under voice watch water white "
    "without world write year young 1024 2026 375 86"
)
WORDS = tuple(_TEXT.split())


def _font_files() -> list[Path]:
    """Return the text fonts that come with matplotlib: the same on every machine."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    names = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono")
    return [folder / f"{name}.ttf" for name in (*names, "STIXGeneral", "STIXGeneralBol")]


def _font(rng: np.random.Generator, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(rng.choice(_font_files())), size)


def words(rng: np.random.Generator, letters: int) -> str:
    """Return random words, some of them capitalized, with about some number of letters together."""
    found: list[str] = []
    while sum(map(len, found)) < letters:
        word = str(rng.choice(WORDS))
        found.append(word.title() if rng.random() < 0.2 else word.upper() if rng.random() < 0.1 else word)
    return " ".join(found)


def _colours(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a colour of paper and one of ink that differ clearly, either the brighter."""
    dark, bright = rng.integers(0, 90, 3), rng.integers(165, 256, 3)
    pair = tuple(map(int, dark)), tuple(map(int, bright))
    return (pair[1], pair[0]) if rng.random() < 0.75 else pair


def _noisy(rng: np.random.Generator, image: Image.Image) -> np.ndarray:
    """Return the pixels (H, W, 3) of a picture, with noise."""
    pixels = np.asarray(image, np.float64)
    return np.clip(pixels + rng.normal(0, rng.uniform(1, 10), pixels.shape), 0, 255)


def text_line(rng: np.random.Generator, text: str, height: int, width: int) -> tuple[np.ndarray, int]:
    """Return the pixels (height, width, 3) of a line of text, filled up with 0 on the right, and how wide it is."""
    paper, ink = _colours(rng)
    font = _font(rng, 40)
    left, top, right, bottom = font.getbbox(text)
    pad = int(rng.integers(4, 12))
    image = Image.new("RGB", (right - left + 2 * pad, bottom - top + 2 * pad), paper)
    ImageDraw.Draw(image).text((pad - left, pad - top), text, ink, font)
    own = min(width, max(1, round(image.width * height / image.height)))
    pixels = np.zeros((height, width, 3))
    pixels[:, :own] = _noisy(rng, image.resize((own, height), Image.Resampling.BILINEAR))
    return pixels, own


def text_page(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return the pixels (size, size, 3) of a page with lines of text of several sizes."""
    paper, ink = _colours(rng)
    image = Image.new("RGB", (size, size), paper)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 3))):
        corner = rng.integers(0, size - 40, 2)
        box = (*map(int, corner), *(int(c + rng.integers(20, size // 2)) for c in corner))
        draw.rectangle(box, tuple(map(int, rng.integers(120, 256, 3))) if sum(ink) < 380 else (40, 60, 70))
    y = int(rng.integers(5, 30))
    while y < size - 30:
        font = _font(rng, int(rng.integers(14, 34)))
        text = words(rng, int(rng.integers(4, 22)))
        draw.text((int(rng.integers(4, size // 3)), y), text, ink, font)
        y += int(font.size * rng.uniform(1.3, 2.5))
    return _noisy(rng, image)


SHAPES = ("disc", "square", "triangle", "ring")


def shapes(rng: np.random.Generator, size: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw shapes that do not overlap on a textured ground.

    Returns
    -------
    pixels
        (size, size, 3), 0 to 255.
    mask
        (size, size), 0 for the ground, else the number of the shape in `SHAPES` plus 1.
    boxes
        (most, 6) class, score 1, x0, y0, x1, y1; class -1 where there are fewer shapes.
    """
    y, x = np.mgrid[:size, :size] + 0.5
    wave = np.sin(x * rng.uniform(0.02, 0.3) + y * rng.uniform(-0.2, 0.2) + rng.uniform(0, 6))
    pixels = rng.uniform(20, 235, 3) + wave[..., None] * rng.uniform(5, 25, 3)
    mask, boxes = np.zeros((size, size), np.int64), np.full((most, 6), -1.0)
    taken: list[tuple[float, float, float]] = []
    for i in range(int(rng.integers(1, most + 1))):
        r = rng.uniform(size / 10, size / 5)
        cx, cy = rng.uniform(r + 1, size - r - 1, 2)
        if any(np.hypot(cx - a, cy - b) < 1.3 * (r + s) for a, b, s in taken):
            continue
        taken.append((cx, cy, r))
        kind = int(rng.integers(len(SHAPES)))
        dx, dy = x - cx, y - cy
        inside = (
            np.hypot(dx, dy) < r,
            np.maximum(abs(dx), abs(dy)) < r,
            (dy < r) & (dy > 2 * abs(dx) - r),
            (np.hypot(dx, dy) < r) & (np.hypot(dx, dy) > 0.55 * r),
        )[kind]
        colour = rng.uniform(0, 255, 3)
        while np.abs(colour - pixels[inside].mean(0)).max() < 60:
            colour = rng.uniform(0, 255, 3)
        pixels[inside], mask[inside] = colour, kind + 1
        boxes[i] = kind, 1, cx - r, cy - r, cx + r, cy + r
    return np.clip(pixels + rng.normal(0, rng.uniform(2, 12), pixels.shape), 0, 255), mask, boxes


def tones(rng: np.random.Generator, kind: int, frames: int, bands: int) -> np.ndarray:
    """Return a spectrogram (frames, bands), in logarithms, of a tone.

    Kinds are: 0 rises, 1 falls, 2 stays, 3 trembles, 4 clicks; those from 5 on are two of these one after the other.
    """
    if kind >= 5:
        first, second = [(0, 1), (1, 0), (2, 3), (4, 2), (3, 4)][kind - 5]
        half = frames // 2
        return np.concatenate([tones(rng, first, half, bands), tones(rng, second, frames - half, bands)])
    t = np.linspace(0, 1, frames)
    low, high = bands * rng.uniform(0.1, 0.35), bands * rng.uniform(0.6, 0.9)
    middle = bands * rng.uniform(0.3, 0.7)
    pitch = {
        0: low + (high - low) * t,
        1: high + (low - high) * t,
        2: np.full(frames, middle),
        3: middle + bands / 8 * np.sin(t * rng.uniform(18, 30)),
        4: np.full(frames, middle),
    }[kind]
    loud = rng.uniform(2, 6) * (np.sin(t * rng.uniform(40, 60)) > 0.5 if kind == 4 else np.ones(frames))
    band = np.arange(bands)
    width = rng.uniform(1, 2.5) if kind != 4 else bands / 3
    spectrum = loud[:, None] * np.exp(-(((band - pitch[:, None]) / width) ** 2))
    return (spectrum + rng.normal(0, 0.5, (frames, bands)) + rng.normal(0, 0.3, bands)).astype(np.float32)
