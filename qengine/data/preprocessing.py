"""Preprocessing: how pictures become the numbers of a model, one declaration for every command and function.

A picture is turned upright, resized, cropped, put into the model's order of channels, and its pixels 0..255 become
``(pixel - mean) * scale``. What people type has other forms: torchvision's mean and standard deviation of pixels in
[0, 1], the same of pixels in [0, 255], or a scale. `Preprocessing.of` brings all of them to the one form that is kept,
recorded in files and compared: two that do the same are equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.channels import LAYOUTS
from qengine.errors import OptionError, did_you_mean

CONVERSIONS = {
    "grey": "grey pictures become three equal channels",
    "alpha": "transparency is dropped",
    "depth": "more than 8 bits a channel are cut to the high 8",
    "size": "pictures are resized to the height and width that the model needs",
    "length": "sounds are cut at the end, or filled with zeros, to the length that the model needs",
    "mono": "channels of sounds become their average",
}
"""Changes of pictures and sounds that are made only where they are asked for."""

_MAX_NUMBER = 1e30
_MAX_LENGTH = 1 << 16
_WHITE = 255.0

Numbers = float | Sequence[float]
Lengths = int | Sequence[int]


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of pictures to the numbers of a model: (pixel - mean) * scale, of pixels 0..255.

    Attributes
    ----------
    scale, mean : number for all channels, or one number per channel in the model's order of channels.
    bgr : whether the model's channels are blue, green, red.
    layout : "nchw" or "nhwc": whether the channels of the model's pictures are before height and width or after them;
        None where the shapes tell.
    convert : names in `CONVERSIONS`: the changes that may be made to pictures that do not fit.
    resize : length of the shorter side, or height and width, that pictures are resized to first; () for none.
    crop : height and width of the middle that is cut out of the resized picture; () for none.

    Raises
    ------
    OptionError
        If a number is not finite or beyond 1e30, a scale is 0, a length is not 1 to 65,536, or there is no such layout
        or conversion.
    """

    scale: tuple[float, ...] = (1.0,)
    mean: tuple[float, ...] = (0.0,)
    bgr: bool = False
    layout: str | None = None
    convert: tuple[str, ...] = ()
    resize: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for number in self.scale:
            if not 1 / _MAX_NUMBER <= abs(number) <= _MAX_NUMBER:
                raise OptionError(f"scale {number:g} must be a finite number other than 0, such as 1/255")
        for number in self.mean:
            if not abs(number) <= _MAX_NUMBER:
                raise OptionError(f"mean {number:g} must be a finite number, in pixels 0..255")
        if self.layout is not None and self.layout not in LAYOUTS:
            raise OptionError(
                f"layout '{self.layout}' is not one of {', '.join(LAYOUTS)}{did_you_mean(self.layout, LAYOUTS)}"
            )
        for name in self.convert:
            if name not in CONVERSIONS:
                near = did_you_mean(name, CONVERSIONS, {"gray": "grey", "grayscale": "grey", "resize": "size"})
                listed = ", ".join(CONVERSIONS)
                raise OptionError(f"no conversion of pictures is named '{name}'{near}; there are {listed}")
        for name, lengths, counts in (("resize", self.resize, (0, 1, 2)), ("crop", self.crop, (0, 2))):
            if len(lengths) not in counts or not all(1 <= n <= _MAX_LENGTH for n in lengths):
                raise OptionError(f"{name} {list(lengths)} is not one length such as 224, or height and width")

    @classmethod
    def of(
        cls,
        *,
        scale: Numbers | None = None,
        mean: Numbers | None = None,
        std: Numbers | None = None,
        resize: Lengths | None = None,
        crop: Lengths | None = None,
        bgr: bool | None = None,
        layout: str | None = None,
        convert: Iterable[str] | None = None,
        base: Preprocessing | None = None,
    ) -> Preprocessing:
        """Return the preprocessing that people mean by what they type.

        Parameters
        ----------
        scale
            Factor of pixels 0..255, such as 1/255. It and `std` exclude each other.
        mean, std
            Pictures become (picture - mean) / std, as torchvision's Normalize has it. Where none of the numbers is
            beyond 1, they are of pictures in [0, 1], otherwise of pictures in [0, 255]. Where `std` alone is left out,
            it is 1 on the same scale. A `mean` of 0 alone changes nothing.
        resize, crop
            Length of the shorter side, or height and width; one length of `crop` is both.
        bgr, layout, convert
            See the attributes.
        base
            Preprocessing that holds where something is left out; None for plain pixels 0..255.

        Raises
        ------
        OptionError
            If `scale` and `std` are both given, a `std` is not positive, `mean` and `std` are of different scales, or
            as the class.
        """
        base = base or cls()
        factors, means = _normalization(scale, mean, std, base)
        lengths = (crop,) * 2 if isinstance(crop, int) else crop
        return cls(
            factors,
            means,
            base.bgr if bgr is None else bgr,
            base.layout if layout is None else layout,
            base.convert if convert is None else tuple(convert),
            base.resize if resize is None else (resize,) if isinstance(resize, int) else tuple(resize),
            base.crop if lengths is None else tuple(lengths),
        )

    @property
    def is_same_for_channels(self) -> bool:
        """Whether all channels have one scale and one mean, and their order does not matter."""
        return len(self.scale) == len(self.mean) == 1 and not self.bgr

    def agrees_with(self, other: Preprocessing) -> bool:
        """Whether another preprocessing makes the same numbers of a picture that needs no conversion.

        Numbers are compared to 9 digits: 1/255 and a std of 0.5 do not come to the same bits in every spelling.
        """
        if (self.bgr, self.resize, self.crop) != (other.bgr, other.resize, other.crop):
            return False
        if None not in (self.layout, other.layout) and self.layout != other.layout:
            return False
        pairs = ((self.scale, other.scale), (self.mean, other.mean))
        return all(_are_close(one, another) for one, another in pairs)

    def keeps(self, recorded: Preprocessing) -> bool:
        """Whether formats that were chosen with a recorded preprocessing hold the numbers of this one.

        A resize or crop keeps to a record without any, which is of pictures that had their size.
        """
        if not recorded.resize and not recorded.crop:
            recorded = replace(recorded, resize=self.resize, crop=self.crop)
        return self.agrees_with(recorded)

    def fits(self, channels: int) -> bool:
        """Whether scale and mean have one number, or one for each of `channels` channels."""
        return all(len(numbers) in (1, channels) for numbers in (self.scale, self.mean))

    def to_numbers(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return uint8 pixels (H, W, C) as a float32 tensor (C, H, W); raise OptionError unless `fits(C)`."""
        planes = np.moveaxis(pixels, -1, 0)
        planes = planes[::-1] if self.bgr else planes
        numbers = zip(planes, *self._columns(len(planes)), strict=True)
        # Plane by plane: float64 for a whole large image would take more memory than the result.
        return np.stack([((plane.astype(np.float64) - m) * s).astype(np.float32) for plane, s, m in numbers])

    def to_pixels(self, planes: NDArray[Any]) -> NDArray[np.float64]:
        """Return a tensor (C, H, W) as float64 pixels (H, W, C), clipped to 0..255 and not rounded."""
        pixels = planes.astype(np.float64)
        for plane, scale, mean in zip(pixels, *self._columns(len(planes)), strict=True):
            plane /= scale
            plane += mean
            np.clip(plane, 0.0, 255.0, out=plane)
        return np.moveaxis(pixels[::-1] if self.bgr else pixels, 0, -1)

    def record(self) -> dict[str, Any]:
        """Return a JSON object of what differs from plain pixels 0..255; `from_record` reads it."""
        plain = Preprocessing()
        differing = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in differing.items()
            if value != getattr(plain, name)
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Preprocessing:
        """Return what `record` gave.

        Raises
        ------
        OptionError
            If the object has another form.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(record) - known):
            raise OptionError(f"preprocessing has no '{unknown[0]}'; it has {', '.join(sorted(known))}")
        values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in record.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise OptionError(f"preprocessing is not as qengine writes it: {error}") from None

    def described(self) -> str:
        """Return what is done to pictures, in words of one line."""
        words = []
        if self.resize:
            words.append(
                f"shorter side {self.resize[0]}" if len(self.resize) == 1 else f"resized to {_by(self.resize)}"
            )
        if self.crop:
            words.append(f"middle {_by(self.crop)}")
        if self.bgr:
            words.append("blue first")
        if self.layout:
            words.append(self.layout)
        words.append(self._formula())
        return ", ".join(words)

    def _formula(self) -> str:
        """Return how a pixel becomes a number."""
        if (self.scale, self.mean) == ((1.0,), (0.0,)):
            return "pixels 0..255"
        pixel = "pixel" if self.mean == (0.0,) else f"(pixel - {_listed(self.mean)})"
        if self.scale == (1.0,):
            return pixel
        if all(scale < 1 for scale in self.scale):
            return f"{pixel} / {_listed([1 / scale for scale in self.scale])}"
        return f"{pixel} * {_listed(self.scale)}"

    def _columns(self, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return scale and mean with one number per channel."""
        for name, numbers in (("scale", self.scale), ("mean", self.mean)):
            if len(numbers) not in (1, channels):
                one = "1 channel" if channels == 1 else f"{channels} channels"
                raise OptionError(
                    f"{name} has {len(numbers)} numbers, and the image {one}: give one number, or one per channel"
                )
        return np.resize(self.scale, channels), np.resize(self.mean, channels)


def _normalization(
    scale: Numbers | None, mean: Numbers | None, std: Numbers | None, base: Preprocessing
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the factors and the means of pixels 0..255 for what was typed; see `Preprocessing.of`."""
    if scale is not None and std is not None:
        raise OptionError("--scale and --std both say what pixels are divided by: give one of them")
    means, deviations = _tuple(mean), _tuple(std)
    if any(not number > 0 for number in deviations):
        raise OptionError(f"std {_listed(deviations)} must be positive numbers, such as 0.229,0.224,0.225")
    if deviations and _are_mixed(means, deviations):
        raise OptionError(
            f"mean {_listed(means)} and std {_listed(deviations)} are on different scales: give both of pictures in "
            "[0, 1] or both of pixels 0..255, or the factor of pixels with --scale"
        )
    given = (*means, *deviations)
    is_unit = all(abs(number) <= 1 for number in given) and (std is not None or any(means))
    unit = _WHITE if is_unit else 1.0
    in_pixels = tuple(unit * number for number in means) if mean is not None else None
    if std is not None:
        return tuple(1 / (unit * number) for number in deviations), in_pixels or (0.0,)
    if scale is not None:
        return _tuple(scale), base.mean if in_pixels is None else in_pixels
    if in_pixels is not None:
        return (1 / _WHITE,) if is_unit and base.scale == (1.0,) else base.scale, in_pixels
    return base.scale, base.mean


def _are_mixed(means: Sequence[float], deviations: Sequence[float]) -> bool:
    """Whether means and standard deviations are not of the same pictures; a std of 1 changes nothing."""
    if any(abs(mean) > 1 for mean in means):
        return all(deviation < 1 for deviation in deviations)
    return any(means) and any(deviation > 1 for deviation in deviations)


def _are_close(ones: Sequence[float], others: Sequence[float]) -> bool:
    """Whether numbers for channels are equal to 9 digits; one number is for all channels."""
    if len(ones) != len(others) and 1 not in (len(ones), len(others)):
        return False
    count = max(len(ones), len(others))
    pairs = zip(np.resize(ones, count), np.resize(others, count), strict=True)
    return all(math.isclose(one, another, rel_tol=1e-9, abs_tol=1e-9) for one, another in pairs)


def _tuple(numbers: Numbers | None) -> tuple[float, ...]:
    if numbers is None:
        return ()
    return (float(numbers),) if isinstance(numbers, int | float) else tuple(map(float, numbers))


def _listed(numbers: Iterable[float]) -> str:
    texts = [f"{number:.6g}" for number in numbers]
    return texts[0] if len(texts) == 1 else f"[{' '.join(texts)}]"


def _by(lengths: Sequence[int]) -> str:
    return " x ".join(map(str, lengths))
