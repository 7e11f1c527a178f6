"""Options of a calibration: one frozen object, or its fields as keyword arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from qengine.checks import check_whole_number
from qengine.errors import OptionError
from qengine.quantization.calibration.choose import Method

_MAX_HEADROOM = 1024.0

AUTO = "auto"
"""The word length of outputs that depends on what they would lose."""


class CalibrationKeywords(TypedDict, total=False):
    """The fields of `CalibrationOptions` as keyword arguments."""

    bits: int
    weight_bits: int | None
    activation_bits: int | None
    method: str
    percentile: float
    headroom: float
    per_channel: bool
    unsigned: bool
    tie_joins: bool
    output_bits: int | str


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """Frozen description of how formats are chosen from data.

    Attributes
    ----------
    bits : word length of every tensor, 2 to 16; the cells of an LSTM have 16 always.
    weight_bits, activation_bits : word length of constants, and of the inputs and all that a run computes; None for
        `bits`.
    method : "mse", "max" or "percentile", a `Method`.
    percentile : percentage of values that must not saturate, above 0 and at most 100; read by method "percentile".
    headroom : factor, 1 to 1024, by which later activations may exceed those in the data, or their percentile,
        without saturating.
    per_channel : whether the weights of an operator have one number of fraction bits per output channel.
    unsigned : whether tensors that are never negative have unsigned formats.
    tie_joins : whether the inputs of Concat, Where, Max and Min share the format of the output.
    output_bits : word length of the outputs, and of what shares their formats; "auto" for that of all activations, but
        16 for an output of which a part or a channel would lose its signal, see `outputs`.

    Raises
    ------
    OptionError
        If a value is not allowed.
    """

    bits: int = 8
    weight_bits: int | None = None
    activation_bits: int | None = None
    method: str = Method.MSE
    percentile: float = 99.99
    headroom: float = 1.0
    per_channel: bool = True
    unsigned: bool = True
    tie_joins: bool = False
    output_bits: int | str = AUTO

    def __post_init__(self) -> None:
        if self.output_bits != AUTO:
            if isinstance(self.output_bits, str):
                raise OptionError(f"output_bits is {AUTO!r} or a word length of 2 to 16, not {self.output_bits!r}")
            object.__setattr__(self, "output_bits", check_whole_number("output_bits", self.output_bits, 2, 16))
        for name in ("bits", "weight_bits", "activation_bits"):
            given = getattr(self, name)
            if given is None and name != "bits":
                continue
            object.__setattr__(self, name, check_whole_number(name, given, 2, 16))
        if not isinstance(self.method, str) or self.method not in list(Method):
            raise OptionError(f"no method is named {self.method!r}; there are {', '.join(Method)}")
        if not _is_number(self.percentile) or not 0.0 < self.percentile <= 100.0:
            raise OptionError(f"percentile is above 0 and at most 100, not {self.percentile!r}")
        if not _is_number(self.headroom) or not 1.0 <= self.headroom <= _MAX_HEADROOM:
            raise OptionError(f"headroom is a factor of 1 to {_MAX_HEADROOM:g}, not {self.headroom!r}")

    @property
    def weight_word_length(self) -> int:
        """The word length of constants."""
        return self.bits if self.weight_bits is None else self.weight_bits

    @property
    def activation_word_length(self) -> int:
        """The word length of the inputs and of all that a run computes."""
        return self.bits if self.activation_bits is None else self.activation_bits


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
