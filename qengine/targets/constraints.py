"""Constraints: which formats and operators a device has, declared as data.

Rules say how a device computes; constraints say what it can be asked to compute. They change no bit of a run. A choice
of formats (calibrate, search, sweep) stays within them, and a check of a model against a target names each tensor that
leaves them. A constraint at its default allows everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from qengine.qformat import QFormat


@dataclass(frozen=True)
class Constraints:
    """Formats and operators of a device.

    Attributes
    ----------
    activation_bits : word lengths of inputs and results; None for 2 to 16.
    weight_bits : word lengths of weights; None for 2 to 16.
    equal_bits : whether weights have as many bits as the operand that they are multiplied with.
    signed_only : whether UQm.n does not exist.
    per_channel : operators whose weights may have a format per output channel: "no" for none, "conv" for Conv and
        ConvTranspose, "all" for every operator with weights.
    symmetric_weights : whether the least code of weights is -(2^(b-1) - 1), such as -127.
    shifts : least and most shift to the right of the sums of Conv, ConvTranspose, Gemm and MatMul,
        n_x + n_w - n_y; a negative shift is one to the left. (0, 31) means that n_y is at most n_x + n_w.
    equal_formats : operators whose operands and result have one format, such as Add, Concat, AveragePool.
    equal_operands : operators whose operands have one format, and whose result may have another.
    input_formats : formats that the first operand of an operator may have, by operator.
    output_formats : formats that the result of an operator may have, by operator.
    operators : the only operators that the device has; None for all. Operators that compute nothing (Identity,
        Reshape, Constant, ...) need no entry.
    refused : operators that the device does not have, or computes by a rule that no target can say.
    """

    activation_bits: tuple[int, ...] | None = None
    weight_bits: tuple[int, ...] | None = None
    equal_bits: bool = False
    signed_only: bool = False
    per_channel: Literal["no", "conv", "all"] = "all"
    symmetric_weights: bool = False
    shifts: tuple[int, int] | None = None
    equal_formats: tuple[str, ...] = ()
    equal_operands: tuple[str, ...] = ()
    input_formats: Mapping[str, tuple[QFormat, ...]] = field(default_factory=dict, hash=False)
    output_formats: Mapping[str, tuple[QFormat, ...]] = field(default_factory=dict, hash=False)
    operators: tuple[str, ...] | None = None
    refused: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[str, ...]:
        """The names of the constraints that do not allow everything."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(_NONE, f.name))

    def allows_operator(self, name: str) -> bool:
        """Whether the device has an operator."""
        return name not in self.refused and (self.operators is None or name in self.operators)

    def allows_format(self, fmt: QFormat, kind: Literal["activation", "weight"]) -> bool:
        """Whether a tensor of a kind may have a format, as far as its operator does not decide."""
        bits = self.activation_bits if kind == "activation" else self.weight_bits
        return (bits is None or fmt.bits in bits) and (fmt.signed or not self.signed_only)


_NONE = Constraints()


@dataclass(frozen=True)
class Violation:
    """A tensor or an operator of a model that a device does not have.

    Attributes
    ----------
    constraint : name of the field of `Constraints`, or of the rule of the target, that does not allow it.
    subject : name of the tensor, or of the node where an operator is missing.
    operator : type of the node that it belongs to; "" for an input of the model.
    found : format or formats of the model, such as "Q4.3 + Q5.2" or "UQ0.8".
    allowed : formats or operators of the device, such as "one format for all operands".
    remedy : advice, such as "give it a signed format".
    """

    constraint: str
    subject: str
    operator: str
    found: str
    allowed: str
    remedy: str

    def __str__(self) -> str:
        by = f" ({self.operator})" if self.operator else ""
        return f"'{self.subject}'{by}: {self.found}; the target has {self.allowed}: {self.remedy}"
