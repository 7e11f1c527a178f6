"""What a calibration is told."""

from __future__ import annotations

from dataclasses import dataclass

from qengine.calibration.choose import Method
from qengine.errors import OptionError


@dataclass(frozen=True)
class CalibrationOptions:
    """How formats are chosen.

    Attributes
    ----------
    bits : word length, 2 to 16.
    weight_bits, activation_bits : of constants, and of everything else; None for `bits`.
    method : "mse", "max" or "percentile", a `Method`.
    percentile : of the method of that name: the share of values, in per cent, that is not to saturate.
    per_channel : give weights one number of fraction bits for each output channel.
    unsigned : give unsigned formats to what is never negative.
    tie_joins : let what Concat, Where, Max and Min read share the format of what they give.

    Raises
    ------
    OptionError
        If a value is not one of those.
    """

    bits: int = 8
    weight_bits: int | None = None
    activation_bits: int | None = None
    method: str = Method.MSE
    percentile: float = 99.99
    per_channel: bool = False
    unsigned: bool = False
    tie_joins: bool = False

    def __post_init__(self) -> None:
        for name in ("bits", "weight_bits", "activation_bits"):
            given = getattr(self, name)
            if given is None and name != "bits":
                continue
            if isinstance(given, bool) or not isinstance(given, int) or not 2 <= given <= 16:
                raise OptionError(f"{name} is a word length of 2 to 16, not {given!r}")
        if not isinstance(self.method, str) or self.method not in list(Method):
            raise OptionError(f"no method is named {self.method!r}; there are {', '.join(Method)}")
        if isinstance(self.percentile, bool) or not isinstance(self.percentile, int | float):
            raise OptionError(f"percentile is a number of per cent, not {self.percentile!r}")
        if not 0.0 < self.percentile <= 100.0:
            raise OptionError(f"percentile {self.percentile:g} is not within 0 (excluded) and 100")

    @property
    def of_weights(self) -> int:
        """The word length of constants."""
        return self.bits if self.weight_bits is None else self.weight_bits

    @property
    def of_activations(self) -> int:
        """The word length of everything that a run computes, the inputs included."""
        return self.bits if self.activation_bits is None else self.activation_bits
