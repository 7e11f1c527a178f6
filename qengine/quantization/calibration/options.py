"""Options of a calibration: one frozen object, or its fields as keyword arguments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

from qengine.checks import check_whole_number
from qengine.errors import OptionError, did_you_mean
from qengine.qformat import Overflow, overflow_mode
from qengine.quantization.calibration.choose import METHOD_WORDS, Method
from qengine.quantization.calibration.ties import Ties
from qengine.runtime.options import SessionOptions
from qengine.targets import Constraints, Target

_MAX_HEADROOM = 1024.0

DEFAULT_BITS = 8

AUTO = "auto"
"""The word length of outputs that depends on what they would lose."""


class CalibrationKeywords(TypedDict, total=False):
    """The fields of `CalibrationOptions` as keyword arguments."""

    bits: int | None
    weight_bits: int | None
    activation_bits: int | None
    method: str
    percentile: float
    headroom: float
    per_channel: bool
    unsigned: bool
    tie_joins: bool
    output_bits: int | str
    target: Target | str | os.PathLike[str] | None
    overflow: str | None


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """Frozen description of how formats are chosen from data.

    Attributes
    ----------
    bits : word length of every tensor, 2 to 16; the cells of an LSTM have 16 always. None for 8 or, where the target
        does not have it, the next longer word that it has.
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
    target : device within whose constraints formats are chosen: a `Target`, a name or the path of a file. Word lengths
        that are given win over its own. None for no constraints.
    overflow : name of an `Overflow`, for results that a word cannot hold; None for what the target says, or saturate.
        Where they wrap, formats are signed and hold what a fused Relu or Clip bounds.

    Raises
    ------
    OptionError
        If a value is not allowed.
    FormatError
        If there is no such overflow.
    TargetError
        If there is no such target.
    """

    bits: int | None = None
    weight_bits: int | None = None
    activation_bits: int | None = None
    method: str = Method.MSE
    percentile: float = 99.99
    headroom: float = 1.0
    per_channel: bool = True
    unsigned: bool = True
    tie_joins: bool = False
    output_bits: int | str = AUTO
    target: Target | str | os.PathLike[str] | None = None
    overflow: str | None = None

    def __post_init__(self) -> None:
        if self.output_bits != AUTO:
            if isinstance(self.output_bits, str):
                raise OptionError(f"output_bits is {AUTO!r} or a word length of 2 to 16, not {self.output_bits!r}")
            object.__setattr__(self, "output_bits", check_whole_number("output_bits", self.output_bits, 2, 16))
        for name in ("bits", "weight_bits", "activation_bits"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, check_whole_number(name, given, 2, 16))
        object.__setattr__(self, "target", None if self.target is None else Target.of(self.target))
        if self.overflow is not None:
            object.__setattr__(self, "overflow", overflow_mode(self.overflow))
        if not isinstance(self.method, str) or self.method not in list(Method):
            near = did_you_mean(str(self.method), Method, METHOD_WORDS)
            raise OptionError(f"no method is named {self.method!r}{near}; there are {', '.join(Method)}")
        if not _is_number(self.percentile) or not 0.0 < self.percentile <= 100.0:
            raise OptionError(f"percentile is above 0 and at most 100, not {self.percentile!r}")
        if not _is_number(self.headroom) or not 1.0 <= self.headroom <= _MAX_HEADROOM:
            raise OptionError(f"headroom is a factor of 1 to {_MAX_HEADROOM:g}, not {self.headroom!r}")

    def for_runs(self, session: SessionOptions) -> CalibrationOptions:
        """Return the options with the target and the overflow of the runs, where they have none."""
        target, overflow = self.target or session.target, self.overflow
        if overflow is None and (session.overflow is not None or session.rules is not None):
            overflow = session.rules_of_run().overflow
        return replace(self, target=target, overflow=overflow)

    def for_observing(self, session: SessionOptions) -> SessionOptions:
        """Return the options of the runs that observe what the choice of formats needs."""
        run = session if self.target is None else replace(session, target=self.target)
        rules = None if run.rules_of_run().fuses_functions else {"fuses_functions": False}
        overflow = Overflow.WRAP if self.results_wrap else None
        return replace(session.in_float32(), overflow=overflow, rules=rules)

    @property
    def weight_word_length(self) -> int:
        """The word length of constants, if the target has no rule for each."""
        given = self.bits if self.weight_bits is None else self.weight_bits
        return word_length(self.constraints.weight_bits) if given is None else given

    @property
    def activation_word_length(self) -> int:
        """The word length of the inputs and of all that a run computes."""
        given = self.bits if self.activation_bits is None else self.activation_bits
        return word_length(self.constraints.activation_bits) if given is None else given

    @property
    def equal_word_lengths(self) -> bool:
        """Whether weights have the word length of the tensor that they are multiplied with."""
        return self.constraints.equal_bits and self.weight_bits is None

    @property
    def constraints(self) -> Constraints:
        """The constraints of the target."""
        return self.target.constraints if isinstance(self.target, Target) else Constraints()

    @property
    def may_be_unsigned(self) -> bool:
        """Whether there are unsigned formats; where results wrap, negative sums before a Relu would be large codes."""
        return self.unsigned and not self.constraints.signed_only and not self.results_wrap

    @property
    def results_wrap(self) -> bool:
        """Whether results that a word cannot hold wrap."""
        if self.overflow is not None:
            return self.overflow == Overflow.WRAP
        return isinstance(self.target, Target) and self.target.rules.overflow is Overflow.WRAP

    @property
    def ties(self) -> Ties:
        """The operators around which tensors share a format."""
        constraints = self.constraints
        return Ties(self.tie_joins, frozenset(constraints.equal_formats), frozenset(constraints.equal_operands))

    def allows_activation_bits(self, bits: int) -> bool:
        """Whether the target has words of a length for what a run computes."""
        allowed = self.constraints.activation_bits
        return allowed is None or bits in allowed

    def notes_on_target(self) -> Iterator[str]:
        """Yield a note on each word length that the target does not have, and on formats in which results may wrap."""
        for kind, bits, allowed in (
            ("activations", self.activation_word_length, self.constraints.activation_bits),
            ("weights", self.weight_word_length, self.constraints.weight_bits),
        ):
            if allowed is not None and bits not in allowed:
                assert isinstance(self.target, Target)
                yield (
                    f"{kind} have {bits} bits, as given; target {self.target.name} has {listed_bits(allowed)}: "
                    "leave out the word length to have one of these"
                )
        if self.results_wrap:
            of_target = f" of target {self.target.name}" if isinstance(self.target, Target) else ""
            advice = "later ones may exceed those of the data: check the SQNR, and give headroom"
            if self.method != Method.MAX:
                advice = f"method {self.method} lets large values wrap: give method max; {advice}"
            yield f"results{of_target} wrap, and {advice}"


def word_length(allowed: tuple[int, ...] | None) -> int:
    """Return the word length that is taken by default among those that a target has; None as it has all."""
    if allowed is None or DEFAULT_BITS in allowed:
        return DEFAULT_BITS
    return min((bits for bits in allowed if bits > DEFAULT_BITS), default=max(allowed))


def listed_bits(allowed: tuple[int, ...]) -> str:
    """Return word lengths as text, such as "8 or 16 bits"."""
    return f"{' or '.join(map(str, sorted(allowed)))} bits"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
