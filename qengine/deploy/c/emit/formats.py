"""Formats and shapes of tensors in the words of comments, and as macros."""

from __future__ import annotations

from qengine.deploy.c.ir import CTensor, CType
from qengine.deploy.vectors.layout import Layout
from qengine.qformat import ChannelFormats, Format, PartFormats, QFormat


def shape_text(tensor: CTensor) -> str:
    """Return the shape, such as "1 x 3 x 32 x 32"."""
    return " x ".join(map(str, tensor.shape)) or "one number"


def order_text(tensor: CTensor) -> str:
    """Return the order of the elements in words."""
    if tensor.order == tuple(range(len(tensor.shape))):
        return "in ONNX's order"
    if tensor.order == (0, *range(2, len(tensor.shape)), 1):
        return "channels last"
    return f"axes {', '.join(map(str, tensor.order))}, the last one innermost"


def layout_name(tensor: CTensor) -> str:
    """Return the layout as the manifest of packs names it; "axes" for one that it has no name for."""
    if tensor.order == tuple(range(len(tensor.shape))):
        return "nchw"
    return "nhwc" if tensor.order == (0, *range(2, len(tensor.shape)), 1) else "axes"


def order_names(tensor: CTensor) -> str:
    """Return the order as the manifest of packs writes it, the slowest axis first."""
    if layout_name(tensor) == "nchw":
        return Layout("nchw").describe(len(tensor.shape))
    return " ".join(f"axis{axis}" for axis in tensor.order)


def value_text(tensor: CTensor) -> str:
    """Return what a code means, and which codes there are."""
    fmt = tensor.format
    if fmt is None:
        return "truth values: 0 and 1" if tensor.dtype.kind == "b" else "integers"
    word = fmt.word()
    codes = f"codes {word.least} to {word.most}"
    if isinstance(fmt, QFormat):
        ends = f"{_number(word.least, fmt.fraction_bits)} to {_number(word.most, fmt.fraction_bits)}"
        return f"{fmt}: value = code {_scale(fmt.fraction_bits)}; {codes} are {ends}"
    kind = "part" if isinstance(fmt, PartFormats) else "channel"
    return f"a format for each {kind} along axis {fmt.axis}; {codes}"


def _scale(n: int) -> str:
    return f"/ {1 << n}" if 0 <= n <= 20 else f"* 2^{-n}"


def _number(code: int, n: int) -> str:
    return f"{code * 2.0**-n:g}"


def fraction_bits(fmt: Format | None) -> list[int] | int | None:
    """Return the number of fraction bits; a list for channels or parts; None for integers."""
    if fmt is None:
        return None
    if isinstance(fmt, QFormat):
        return fmt.fraction_bits
    return [one.fraction_bits for one in fmt.formats]


def macros(tensor: CTensor, prefix: str) -> list[str]:
    """Return the lines that define the size and the format of an input or output."""
    name = f"{prefix}_{tensor.c_name}".upper()
    lines = [f"#define {name}_ELEMENTS {tensor.size}"]
    bits = fraction_bits(tensor.format)
    if isinstance(bits, int):
        lines.append(f"#define {name}_FRACTION_BITS {bits if bits >= 0 else f'({bits})'}")
    elif bits is not None:
        assert isinstance(tensor.format, ChannelFormats | PartFormats)
        listed = ", ".join(map(str, bits))
        if isinstance(tensor.format, PartFormats):
            lines.append(f"/* parts of {', '.join(map(str, tensor.format.lengths))} along axis {tensor.format.axis} */")
        lines.append(f"#define {name}_FRACTION_BITS {{{listed}}}")
    return lines


def c_type(tensor: CTensor) -> str:
    """Return the element type in C."""
    return CType.of(tensor.dtype).name
