"""Preprocessings that networks are trained with, as their options are typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qengine.cli import parsing
from qengine.data.preprocessing import Preprocessing

_COLOURS = 3


@dataclass(frozen=True)
class Candidate:
    """A preprocessing.

    Attributes
    ----------
    name : name in a few words.
    options : options as they are typed, by key of the project file.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def preprocessing(self, base: Preprocessing) -> Preprocessing:
        """Return the preprocessing, with sizes, layout and changes of pictures from `base`."""
        plain = Preprocessing(layout=base.layout, convert=base.convert, resize=base.resize, crop=base.crop)
        return Preprocessing.of(
            mean=parsing.some_numbers("--mean", self.options.get("mean")),
            std=parsing.some_numbers("--std", self.options.get("std")),
            scale=parsing.some_numbers("--scale", self.options.get("scale")),
            bgr=self.options.get("bgr"),
            base=plain,
        )


_PLAIN = Candidate("pixels 0..255")
UNIT = Candidate("pixels / 255", {"scale": "1/255"})
"""Pixels from 0 to 1."""
_CENTRED = Candidate("-1..1", {"mean": "0.5", "std": "0.5"})
_IMAGENET = Candidate("ImageNet mean and std", {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"})
_CAFFE = Candidate("Caffe (BGR, minus mean)", {"mean": "103.939,116.779,123.68", "bgr": True})
_CIFAR = Candidate("CIFAR mean and std", {"mean": "0.4914,0.4822,0.4465", "std": "0.2470,0.2435,0.2616"})
_MNIST = Candidate("MNIST mean and std", {"mean": "0.1307", "std": "0.3081"})
_SIDE_OF_CIFAR = 32


def candidates(channels: int | None, side: int | None) -> list[Candidate]:
    """Return the candidates for pictures with a number of channels.

    Parameters
    ----------
    channels
        Number of channels; None where the pictures have no axis of channels.
    side
        Height of the pictures that the model takes; None where it takes any.
    """
    if channels != _COLOURS:
        return [_PLAIN, UNIT, _CENTRED, _MNIST]
    return [_PLAIN, UNIT, _CENTRED, _IMAGENET, _CAFFE, *([_CIFAR] if side == _SIDE_OF_CIFAR else [])]
