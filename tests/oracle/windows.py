"""The positions that Conv and the pools read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Windows:
    """Per spatial axis: input length, kernel, stride, dilation, pads and output length."""

    length: list[int]
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]
    out: list[int]

    def positions(self, out_index):
        """Every kernel index with the input position it reads (which may lie in the padding)."""
        for k in np.ndindex(*self.kernel):
            at = zip(out_index, self.strides, k, self.dilations, self.begin, strict=True)
            yield k, tuple(o * s + kk * d - p for o, s, kk, d, p in at)

    def inside(self, position) -> bool:
        return all(0 <= p < size for p, size in zip(position, self.length, strict=True))

    def inside_padded(self, position) -> bool:
        at = zip(position, self.length, self.begin, self.end, strict=True)
        return all(-b <= p < size + e for p, size, b, e in at)


def make_windows(shape, kernel, attrs: dict) -> Windows:
    rank = len(kernel)
    length = list(shape[2:])
    strides = list(attrs.get("strides", [1] * rank))
    dilations = list(attrs.get("dilations", [1] * rank))
    pads = list(attrs.get("pads", [0] * (2 * rank)))
    auto_pad = attrs.get("auto_pad", "NOTSET")
    ceil_mode = attrs.get("ceil_mode", 0)
    begin, end, out = pads[:rank], pads[rank:], []
    for i in range(rank):
        extent = (kernel[i] - 1) * dilations[i] + 1
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            size = -(-length[i] // strides[i])
            total = max((size - 1) * strides[i] + extent - length[i], 0)
            small, large = total // 2, total - total // 2
            begin[i], end[i] = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        else:
            if auto_pad == "VALID":
                begin[i] = end[i] = 0
            free = length[i] + begin[i] + end[i] - extent
            size = (-(-free // strides[i]) if ceil_mode else free // strides[i]) + 1
            # A window that would start in the padding at the end does not exist.
            if ceil_mode and (size - 1) * strides[i] >= length[i] + begin[i]:
                size -= 1
        out.append(size)
    return Windows(length, list(kernel), strides, dilations, begin, end, out)
