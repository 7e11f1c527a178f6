"""Resize in all its versions, and Upsample, which it replaced."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.reference.coordinates import Axis
from qengine.model.graph import Node
from qengine.model.ops.axes import normalized
from qengine.model.ops.facts import Constants
from qengine.model.ops.operator import ANY, Floats, Ints, Known, Sign, Since, operator
from qengine.model.steps import Resize, Tensor

_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_POLICIES = ("stretch", "not_larger", "not_smaller")


def _is_nearest(node: Node) -> bool:
    return node.attributes.get("mode", "nearest") == "nearest"


def _sign(node: Node, _constants: Constants) -> Sign | None:
    """Return Sign.KEPT unless a cubic curve has negative taps, or what lies outside of the input is negative."""
    is_cubic = node.attributes.get("mode", "nearest") == "cubic"
    return None if is_cubic or node.number("extrapolation_value", 0.0) < 0 else Sign.KEPT


def _one_of(name: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise ModelError(f"{name} '{given}' is not one of {', '.join(allowed)}")


def _scaled(length: int, scale: float) -> int:
    """Return floor(length * scale), the product in float32 as ONNX Runtime computes it."""
    return int(np.floor(np.float32(length) * np.float32(scale)))


def _fitted(sizes: list[int], lengths: list[int], policy: str) -> tuple[list[int], list[Fraction]]:
    """Return the output's lengths and exact scales for requested sizes."""
    ratios = [Fraction(wanted, n) if n else Fraction(1) for wanted, n in zip(sizes, lengths, strict=True)]
    if policy == "stretch":
        return sizes, ratios
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [floor(scale * n + Fraction(1, 2)) for n in lengths], [scale] * len(sizes)


@dataclass(frozen=True)
class ResizeOptions:
    """The attributes of Resize, from opset 11 on."""

    antialias: Annotated[int, Since(18)] = 0
    axes: Annotated[Ints | None, Since(18)] = None
    coordinate_transformation_mode: str = "half_pixel"
    cubic_coeff_a: float = -0.75
    exclude_outside: int = 0
    extrapolation_value: float = 0.0
    keep_aspect_ratio_policy: Annotated[str, Since(18)] = "stretch"
    mode: str = "nearest"
    nearest_mode: str = "round_prefer_floor"

    def check(self) -> None:
        """Raise ModelError for a word that ONNX does not have."""
        _one_of("mode", self.mode, ("nearest", "linear", "cubic"))
        _one_of("coordinate_transformation_mode", self.coordinate_transformation_mode, _COORDINATES)
        _one_of("keep_aspect_ratio_policy", self.keep_aspect_ratio_policy, _POLICIES)


@operator("Resize", since=11, elements=ANY, preserves_format=_is_nearest, sign=_sign)
def resize(
    x: Tensor,
    roi: Known | None = None,
    scales: Known | None = None,
    sizes: Known | None = None,
    *,
    options: ResizeOptions,
) -> Resize:
    """x resized by scales or to sizes."""
    _one_of("nearest_mode", options.nearest_mode, _NEAREST)
    return _resize(x, roi, scales, sizes, options)


def _resize(
    x: Tensor,
    roi: NDArray[Any] | None,
    scales: NDArray[Any] | None,
    sizes: NDArray[Any] | None,
    options: ResizeOptions,
) -> Resize:
    options.check()
    if not x.is_float and options.mode != "nearest":
        raise UnsupportedError(f"mode '{options.mode}' of '{x.name}' ({x.dtype}): only floating point is supported")
    coordinates = options.coordinate_transformation_mode
    places = tuple(range(x.ndim)) if options.axes is None else normalized(x, options.axes)
    lengths = [x.shape[a] for a in places]
    out, factors = _lengths_and_scales(x, lengths, scales, sizes, options.keep_aspect_ratio_policy)
    regions = _regions(roi, len(places), coordinates)
    resized = tuple(
        Axis(a, n, m, s, r)
        for a, n, m, s, r in zip(places, lengths, out, factors, regions, strict=True)
        if s != 1 or m != n or (coordinates == "tf_crop_and_resize" and r != (0.0, 1.0))
    )
    if any(a.size == 0 < a.out for a in resized):
        raise ModelError(f"'{x.name}' {list(x.shape)} is empty, {out} is not")
    shape = list(x.shape)
    for a, m in zip(places, out, strict=True):
        shape[a] = m
    return Resize(
        x,
        resized,
        tuple(shape),
        options.mode,
        coordinates,
        nearest_mode=options.nearest_mode,
        cubic_coeff_a=options.cubic_coeff_a,
        exclude_outside=bool(options.exclude_outside),
        antialias=bool(options.antialias),
        extrapolation_value=options.extrapolation_value,
    )


def _lengths_and_scales(
    x: Tensor, lengths: list[int], scales: NDArray[Any] | None, sizes: NDArray[Any] | None, policy: str
) -> tuple[list[int], list[Fraction]]:
    """Return the output's lengths along the resized axes, and the exact scale of each."""
    by_scale, by_size = scales is not None and scales.size > 0, sizes is not None and sizes.size > 0
    if by_scale == by_size:
        raise ModelError("needs either scales or sizes" + (", not both" if by_scale else ""))
    given: list[Any] = (scales if by_scale else sizes).ravel().tolist()  # type: ignore[union-attr]
    if len(given) != len(lengths):
        what = "scales" if by_scale else "sizes"
        raise ModelError(f"{what} {given} has {len(given)} numbers, '{x.name}' needs {len(lengths)}")
    if by_scale:
        if not all(np.isfinite(s) and s > 0 for s in given):
            raise ModelError(f"scales {given}: each must be a positive, finite number")
        return [_scaled(n, s) for n, s in zip(lengths, given, strict=True)], [Fraction(s) for s in given]
    if any(s < 0 for s in given):
        raise ModelError(f"sizes {given}: none may be negative")
    return _fitted(given, lengths, policy)


def _regions(roi: NDArray[Any] | None, count: int, coordinates: str) -> list[tuple[float, float]]:
    if coordinates != "tf_crop_and_resize":
        return [(0.0, 1.0)] * count
    values = [] if roi is None else roi.ravel().tolist()
    if len(values) != 2 * count:
        raise ModelError(f"tf_crop_and_resize needs a roi of {2 * count} numbers, {len(values)} given")
    if not np.isfinite(values).all():
        raise ModelError(f"roi {values}: each must be a finite number")
    return list(zip(values[:count], values[count:], strict=True))


@operator("Resize", since=10, elements=ANY, preserves_format=_is_nearest, sign=_sign)
@operator("Upsample", since=9, until=10, elements=ANY, preserves_format=_is_nearest, sign=_sign)
def resize_10(x: Tensor, scales: Known, *, mode: str = "nearest") -> Resize:
    """x resized with coordinates that are divided by the scale.

    ONNX does not say there which element is the nearest; this follows ONNX Runtime.
    """
    options = ResizeOptions(coordinate_transformation_mode="asymmetric", mode=mode, nearest_mode="simple")
    return _resize(x, None, scales, None, options)


@operator("Upsample", since=7, elements=ANY, preserves_format=_is_nearest, sign=_sign)
def upsample_7(x: Tensor, *, mode: str = "nearest", scales: Floats) -> Resize:
    """x resized by scales that are an attribute."""
    return resize_10(x, np.array(scales, np.float32), mode=mode)
