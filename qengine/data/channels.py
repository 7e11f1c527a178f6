"""Layouts of pictures: which axis of a tensor has the channels.

A picture in a tensor has its channels, 1 or 3, before its height and width (nchw) or after them (nhwc). The shape of an
input or output usually tells. Where both axes may be the channels, the user is asked. Where neither has a length, the
channels are first, as ONNX's own operators have them.
"""

from collections.abc import Sequence

from qengine.errors import FeedError
from qengine.model.graph import Dim

CHANNELS = (1, 3)
"""Numbers of channels of a picture."""

LAYOUTS = ("nchw", "nhwc")


def channel_axis(shape: Sequence[Dim], layout: str | None) -> int:
    """Return the axis of the channels, -3 or -1.

    Parameters
    ----------
    shape
        Lengths of the axes of a tensor of pictures, three or more; a name or None for an open length.
    layout
        Name in `LAYOUTS`. None: the length of 1 or 3 tells; without one the channels are first, unless the last axis
        alone is open.

    Raises
    ------
    FeedError
        If both axes could be the channels.
    """
    first, last = shape[-3], shape[-1]
    if layout is not None:
        return -3 if layout == LAYOUTS[0] else -1
    if first in CHANNELS and last in CHANNELS:
        lengths = ", ".join("?" if n is None else str(n) for n in shape)
        raise FeedError(
            f"a picture in the shape [{lengths}] may have its channels first or last: say which with --layout nchw or "
            "--layout nhwc (layout= of Preprocessing)"
        )
    if last in CHANNELS or (first not in CHANNELS and isinstance(first, int) and not isinstance(last, int)):
        return -1
    return -3
