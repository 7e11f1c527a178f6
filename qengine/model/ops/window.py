"""Positions of the windows of Conv, ConvTranspose and pools: ONNX's rules for padding and output lengths."""

from dataclasses import dataclass
from typing import Self

from qengine.errors import ModelError
from qengine.kernels.reference.window import Pads
from qengine.model.steps import Tensor


def per_axis(values: tuple[int, ...] | None, spatial: int, what: str, least: int = 1) -> tuple[int, ...]:
    """Return one number per spatial axis; `least` for each if the attribute is left out.

    Raises
    ------
    ModelError
        If there are fewer or more numbers than axes, or one is below `least`.
    """
    values = (least,) * spatial if values is None else values
    if len(values) != spatial:
        raise ModelError(f"{what} {list(values)} has {len(values)} numbers, {spatial} spatial axes need as many")
    if any(v < least for v in values):
        raise ModelError(f"{what} {list(values)} must be {least} or more")
    return values


def paired(pads: tuple[int, ...] | None, spatial: int) -> Pads:
    """Return ONNX's [begins..., ends...] as (begin, end) per axis.

    Raises
    ------
    ModelError
        If there are not two numbers for each axis, or one is negative.
    """
    values = (0,) * (2 * spatial) if pads is None else pads
    if len(values) != 2 * spatial:
        raise ModelError(f"pads {list(values)} has {len(values)} numbers, {spatial} spatial axes need {2 * spatial}")
    if any(v < 0 for v in values):
        raise ModelError(f"pads {list(values)} must be 0 or more")
    return tuple(zip(values[:spatial], values[spatial:], strict=True))


def halved(total: list[int], auto_pad: str) -> Pads:
    """Return padding as (begin, end) per axis; an odd element is at the end for SAME_UPPER and else at the front."""
    halves = [(t // 2, t - t // 2) for t in total]
    return tuple(halves if auto_pad == "SAME_UPPER" else [(b, a) for a, b in halves])


def _checked(
    spatial: int,
    kernel: tuple[int, ...],
    auto_pad: str,
    strides: tuple[int, ...] | None,
    dilations: tuple[int, ...] | None,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return kernel, strides, dilations and the extent of the dilated kernel, one number per spatial axis each."""
    if auto_pad not in ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"):
        raise ModelError(f"auto_pad '{auto_pad}' is not NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    kernel = per_axis(kernel, spatial, "kernel_shape")
    strides = per_axis(strides, spatial, "strides")
    dilations = per_axis(dilations, spatial, "dilations")
    return kernel, strides, dilations, tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))


def spatial_axes(x: Tensor) -> tuple[int, ...]:
    """Return the lengths after batch and channel.

    Raises
    ------
    ModelError
        If there are no such axes.
    """
    if x.ndim < 3:
        raise ModelError(f"'{x.name}' {list(x.shape)} needs the axes batch, channel and at least one more")
    return x.shape[2:]


@dataclass(frozen=True)
class Window:
    """The windows of a Conv or a pool.

    Attributes
    ----------
    kernel, strides, dilations : numbers per spatial axis.
    pads : padding (before, after) of each axis, that which only ceil_mode adds included.
    declared_pads : padding without that of ceil_mode.
    out : number of windows along each axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    declared_pads: Pads
    out: tuple[int, ...]

    def padded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a tensor's shape with the padding included."""
        return (*shape[:2], *(n + a + b for n, (a, b) in zip(shape[2:], self.pads, strict=True)))

    @classmethod
    def of(
        cls,
        size: tuple[int, ...],
        kernel: tuple[int, ...],
        auto_pad: str,
        strides: tuple[int, ...] | None,
        dilations: tuple[int, ...] | None,
        pads: tuple[int, ...] | None,
        ceil_mode: int = 0,
    ) -> Self:
        """Return the windows over spatial axes of lengths `size`; the other parameters are ONNX's attributes.

        Raises
        ------
        ModelError
            If an attribute does not fit, or a window is larger than the padded input.
        """
        spatial, auto_pad = len(size), auto_pad or "NOTSET"  # some tools write "" for the default
        kernel, strides, dilations, extent = _checked(spatial, kernel, auto_pad, strides, dilations)
        if auto_pad.startswith("SAME"):
            # The output has ceil(size / stride) windows, and padding is chosen for that.
            total = [max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in zip(size, strides, extent, strict=True)]
            declared_pads = halved(total, auto_pad)
        else:
            declared_pads = paired(pads if auto_pad == "NOTSET" else None, spatial)
        out, grown = [], []
        for n, s, e, (a, b) in zip(size, strides, extent, declared_pads, strict=True):
            room = n + a + b - e
            count = room // s + 1
            if ceil_mode and room % s and count * s < n + a:
                # One more window, which starts inside the input or its leading padding.
                count += 1
            if count < 1:
                raise ModelError(
                    f"a window of {e} does not fit an axis of {n} with padding {a} and {b}; the input is too small"
                )
            out.append(count)
            grown.append((a, max(b, (count - 1) * s + e - n - a)))
        return cls(kernel, strides, dilations, tuple(grown), declared_pads, tuple(out))


def check_pads(window: Window) -> None:
    """Raise ModelError for padding as wide as the windows of a pool, where one would have no element of the input."""
    for k, d, (a, b) in zip(window.kernel, window.dilations, window.declared_pads, strict=True):
        extent = (k - 1) * d + 1
        if max(a, b) >= extent:
            raise ModelError(f"padding of {a} and {b} is as wide as a window of {extent}; pads must be smaller")


@dataclass(frozen=True)
class Transposed:
    """The position of the output of a ConvTranspose in the full output, which every input element reaches whole.

    Attributes
    ----------
    strides, dilations, output_padding : numbers per spatial axis.
    pads : elements cropped from (begin, end) of the full output; negative numbers add elements.
    out : lengths of the output.
    """

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    output_padding: tuple[int, ...]
    pads: Pads
    out: tuple[int, ...]

    def spread(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a tensor's shape with its elements a stride apart."""
        return (*shape[:2], *((n - 1) * s + 1 for n, s in zip(shape[2:], self.strides, strict=True)))

    @classmethod
    def of(
        cls,
        size: tuple[int, ...],
        kernel: tuple[int, ...],
        auto_pad: str,
        strides: tuple[int, ...] | None,
        dilations: tuple[int, ...] | None,
        pads: tuple[int, ...] | None,
        output_padding: tuple[int, ...] | None,
        output_shape: tuple[int, ...] | None,
    ) -> Self:
        """Return the output for spatial axes of lengths `size`; the other parameters are ONNX's attributes.

        Raises
        ------
        ModelError
            If an attribute does not fit, or no output is left.
        """
        spatial, auto_pad = len(size), auto_pad or "NOTSET"  # some tools write "" for the default
        kernel, strides, dilations, extent = _checked(spatial, kernel, auto_pad, strides, dilations)
        extra = per_axis(output_padding, spatial, "output_padding", least=0)
        full = [s * (n - 1) + e for n, s, e in zip(size, strides, extent, strict=True)]
        if output_shape is None and auto_pad.startswith("SAME"):
            output_shape = tuple(n * s for n, s in zip(size, strides, strict=True))
        if output_shape is None:
            around = paired(pads if auto_pad == "NOTSET" else None, spatial)
            beyond = extra
        else:
            wanted = per_axis(output_shape, spatial, "output_shape")
            around = halved([f + o - m for f, o, m in zip(full, extra, wanted, strict=True)], auto_pad)
            beyond = tuple(max(o, m - f) for f, o, m in zip(full, extra, wanted, strict=True))
        for o, s, d in zip(beyond, strides, dilations, strict=True):
            if o >= max(s, d):
                raise ModelError(
                    f"an output padding of {o} (output_padding {list(extra)}, output_shape {output_shape}) "
                    f"must be below the larger of stride {s} and dilation {d}"
                )
        out = tuple(f + o - a - b for f, o, (a, b) in zip(full, extra, around, strict=True))
        if min(out) < 1:
            raise ModelError(f"the padding {list(around)} leaves no output: {list(out)}")
        return cls(strides, dilations, extra, around, out)
