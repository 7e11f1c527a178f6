"""What a calibration is told."""

from __future__ import annotations

from dataclasses import dataclass

from qengine.checks import check_whole_number
from qengine.errors import OptionError
from qengine.quantization.calibration.choose import Method

_MOST_HEADROOM = 1024.0


def _is_number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """How formats are chosen.

    Attributes
    ----------
    bits : word length, 2 to 16.
    weight_bits, activation_bits : of constants, and of everything else; None for `bits`.
    method : "mse", "max" or "percentile", a `Method`.
    percentile : of the method of that name: the share of values, in per cent, that is not to saturate.
    headroom : hold activations so many times as large as any in the data, too, 1 or more; where the least error clips
        the data itself, that goes first.
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
    headroom: float = 1.0
    per_channel: bool = False
    unsigned: bool = False
    tie_joins: bool = False

    def __post_init__(self) -> None:
        for name in ("bits", "weight_bits", "activation_bits"):
            given = getattr(self, name)
            if given is None and name != "bits":
                continue
            object.__setattr__(self, name, check_whole_number(name, given, 2, 16))
        if not isinstance(self.method, str) or self.method not in list(Method):
            raise OptionError(f"no method is named {self.method!r}; there are {', '.join(Method)}")
        if not _is_number(self.percentile) or not 0.0 < self.percentile <= 100.0:
            raise OptionError(f"percentile is above 0 and at most 100, not {self.percentile!r}")
        if not _is_number(self.headroom) or not 1.0 <= self.headroom <= _MOST_HEADROOM:
            raise OptionError(f"headroom is a factor of 1 to {_MOST_HEADROOM:g}, not {self.headroom!r}")

    @property
    def of_weights(self) -> int:
        """The word length of constants."""
        return self.bits if self.weight_bits is None else self.weight_bits

    @property
    def of_activations(self) -> int:
        """The word length of everything that a run computes, the inputs included."""
        return self.bits if self.activation_bits is None else self.activation_bits
