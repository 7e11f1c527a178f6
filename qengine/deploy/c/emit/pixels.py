"""Conversion of the pixels of a picture to the codes of an input, in the words of net.h and README.md."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from qengine.deploy.c.emit.stamp import plain
from qengine.deploy.pixel_codes import PixelCodes

_WIDTH = 110
_SECTION = """## Pixels

The formats were chosen for pictures that become numbers in this way:

@rows@

A pixel is 0..255, and its code is `overflow(round(value * 2^n))` as above. That is a table of 256 codes for each
channel, in "pixels" of `@name@.json`, and it needs no arithmetic on the device. A resize is bilinear, over all pixels
that one of the result covers; a crop takes the middle.

"""


def pixel_comment(pixels: PixelCodes | None, name: str) -> list[str]:
    """Return the lines of a comment on an input; none where it is not known to be a picture."""
    if pixels is None:
        return []
    steps = wrap(f"from pixels, channels {', '.join(pixels.channels)}: {plain(pixels.steps)}", _WIDTH)
    ends = "; ".join(f"{one[0]} to {one[-1]}" for one in dict.fromkeys(pixels.codes))
    return [*steps, f'pixels 0 to 255 are codes {ends}: see "pixels" in {name}.json']


def pixel_section(pixels: Sequence[PixelCodes], name: str) -> str:
    """Return the section of README.md; empty where no input is known to be a picture."""
    if not pixels:
        return ""
    rows = [f"- `{plain(one.input)}`, channels {', '.join(one.channels)}: {plain(one.steps)}" for one in pixels]
    return _SECTION.replace("@rows@", "\n".join(rows)).replace("@name@", name)
