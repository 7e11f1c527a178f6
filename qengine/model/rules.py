"""Rules: what a device does with exact numbers, as data, for every kind of operator and for single tensors.

A device is seldom one rounding and one overflow. CMSIS-NN rounds a convolution half up and cuts a mean toward zero;
esp-dl has biases of 20 bits; an HLS accumulator drops bits of every product. `Rules` holds all of this for a whole
model. A planner asks it for the `Arithmetic` of each step, and nothing after the planner sees `Rules`: kernels and
native lowerings read the arithmetic of their own step.

The rounding of a result is looked up in this order: the tensor by name, the operator, its kind, the model; kinds that
are a part of another one come before the operator. A rule that is left at its default changes no bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Literal

from qengine.kernels.reference.word import Word
from qengine.qformat import Format, Overflow, QFormat, Rounding

Kind = Literal[
    "linear",
    "depthwise",
    "dense",
    "add",
    "mul",
    "mean",
    "convert",
    "table",
    "resize",
    "softmax",
    "norm",
    "recurrent",
    "inputs",
    "constants",
]
"""A kind of operator, or of tensor, that has a rounding and an overflow of its own.

linear: sums of products with weights (Conv, ConvTranspose, Gemm, MatMul, a BatchNormalization by itself); depthwise: a
Conv whose filters see one channel each; dense: a Gemm or MatMul with constant weights; add: Add, Sub, Sum; mul: Mul,
Div, PRelu; mean: means and sums over windows or axes; convert: a tensor that is brought to another format (Concat,
Where, Max, Min, a second format of a tensor) and results of operators on real numbers; table: functions of one
variable; resize: linear and cubic interpolation; softmax: Softmax, LogSoftmax, Attention; norm: normalizations;
recurrent: LSTM, GRU, RNN; inputs: what is fed; constants: weights, bounds and fills.
"""

NARROW_KINDS: tuple[Kind, ...] = ("depthwise", "dense")
"""Parts of linear: where they have no mode, it is that of the operator, and then that of linear."""

KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Modes:
    """Rounding and overflow of some results; None where a more general rule holds."""

    rounding: Rounding | None = None
    overflow: Overflow | None = None

    def over(self, general: Modes) -> Modes:
        """Return these modes, with those of a more general rule where they are None."""
        return Modes(self.rounding or general.rounding, self.overflow or general.overflow)

    def word(self, fmt: Format) -> Word:
        """Return the word of a format with these modes; neither is None."""
        assert self.rounding is not None
        assert self.overflow is not None
        return fmt.word(self.rounding, self.overflow)


EXACT_CONSTANTS = Modes(Rounding.HALF_EVEN, Overflow.SATURATE)
"""The rounding and overflow of constants where no rule names others."""


@dataclass(frozen=True)
class AccumulatorRule:
    """The register that holds the sum of a linear operator.

    Attributes
    ----------
    bits : width; None for an unbounded one.
    overflow : "wrap" keeps the low bits, the same at the end as at every step. "saturate" stops at the rails at every
        step, so that the order of summation counts.
    order : order of the taps where the accumulator saturates, the bias before them: "channels_first" as ONNX stores
        weights (channel, then row, then column), "channels_last" row, column, then channel.
    rounds_inside : whether the constant that half_up adds is added in the register, before it wraps.
    fraction_bits : fraction bits of the register; a product with more is cut to them one by one. None keeps all.
    rounding : rounding of products that are cut.
    """

    bits: int | None = None
    overflow: Literal["wrap", "saturate"] = "wrap"
    order: Literal["channels_first", "channels_last"] = "channels_first"
    rounds_inside: bool = False
    fraction_bits: int | None = None
    rounding: Rounding = Rounding.FLOOR


@dataclass(frozen=True)
class BiasRule:
    """The word of a constant bias, before it is shifted to the fraction bits of the sums.

    Attributes
    ----------
    bits : width, 2 to 64; a bias saturates.
    fraction_bits : "sums" for those of the sums; "most" for the most with which no element saturates, at most those
        of the sums; or a number, at most those of the sums.
    rounding : rounding of the real numbers.
    shift : fraction bits that the word has fewer than the sums, where fraction_bits is "sums".
    """

    bits: int = 32
    fraction_bits: int | Literal["sums", "most"] = "sums"
    rounding: Rounding = Rounding.HALF_EVEN
    shift: int = 0


@dataclass(frozen=True)
class MeanRule:
    """The quotient of a sum and a count.

    Attributes
    ----------
    method : "exact", rounded once; "two_pass", along x in the input's word and then along y, each rounded;
        "reciprocal", the sum times floor(65536 / count), rounded by 16 bits; "shifted_count", the sum over the count
        shifted right by the fraction bits that the output has more; "accumulator", the quotient cut toward zero to the
        fraction bits of the accumulator, or of the input where it has none, then rounded to the output; "float32", the
        sum times the reciprocal of the count, in float32.
    counts_pads : whether elements of the padding count; None for what the model says.
    """

    method: Literal["exact", "two_pass", "reciprocal", "shifted_count", "accumulator", "float32"] = "exact"
    counts_pads: bool | None = None


@dataclass(frozen=True)
class TableRule:
    """The table of a function of one variable.

    Attributes
    ----------
    method : "full" has an entry for every code of the input; "cut" has `entries` over [-limit, limit) and drops the
        low bits of the input; "interpolated" draws a line between neighbours of that table; "shared_sigmoid" is
        TFLite's table of 16-bit sigmoid and tanh.
    entries : number of entries, a power of two.
    limit : end of the range that the entries cover, a power of two; "input" for the range of the input's word.
    functions : operators whose tables are like that; all others are full, also those inside of LSTM, GRU and RNN.
    limits : limits of single operators, as pairs.
    has_end : whether there is one more entry, for `limit` itself.
    index_rounding : rounding of an input to an entry, where the method is "cut".
    line_rounding : rounding of what a line adds to an entry, where the method is "interpolated".
    entry_bits, entry_fraction_bits : word of the entries; None for that of the output.
    entry_rounding, entry_overflow : modes of the entries; results have those of tables.
    min_bits : word length of an input from which on tables are like that; those of shorter words are full.
    """

    method: Literal["full", "cut", "interpolated", "shared_sigmoid"] = "full"
    entries: int = 256
    limit: int | Literal["input"] = 8
    functions: tuple[str, ...] = ("Sigmoid", "Tanh")
    limits: tuple[tuple[str, int], ...] = ()
    has_end: bool = False
    index_rounding: Rounding = Rounding.FLOOR
    line_rounding: Rounding = Rounding.FLOOR
    entry_bits: int | None = None
    entry_fraction_bits: int | None = None
    entry_rounding: Rounding = Rounding.HALF_EVEN
    entry_overflow: Literal["saturate", "wrap"] = "saturate"
    min_bits: int = 2

    def of(self, operator: str) -> TableRule:
        """Return the rule of one operator, whose name is the only one of `functions`."""
        if self.method == "full" or operator not in self.functions:
            return TableRule()
        return replace(self, limit=dict(self.limits).get(operator, self.limit), limits=(), functions=(operator,))


@dataclass(frozen=True)
class Arithmetic:
    """The rules of one step: what its kernels read.

    Attributes
    ----------
    rounding, overflow : modes of the results.
    accumulator, bias, mean, table : see the rules of these names.
    constants : rounding and overflow of numbers that the step encodes, such as bounds.
    aligns : whether the operands of an Add are brought to the output's format before they are added.
    islands : families of operators that are computed on real numbers although integers could; see `steps.ISLANDS`.
    """

    rounding: Rounding = Rounding.HALF_EVEN
    overflow: Overflow = Overflow.SATURATE
    accumulator: AccumulatorRule = AccumulatorRule()
    bias: BiasRule = BiasRule()
    mean: MeanRule = MeanRule()
    table: TableRule = TableRule()
    constants: Modes = EXACT_CONSTANTS
    aligns: bool = False
    islands: frozenset[str] = frozenset()

    def word(self, fmt: QFormat) -> Word:
        """Return the word in which a kernel writes codes of a format."""
        return fmt.word(self.rounding, self.overflow)


@dataclass(frozen=True)
class Rules:
    """The rules of a whole model.

    Attributes
    ----------
    rounding, overflow : modes of every result that nothing more special names.
    kinds : modes by kind. Constants are half_even and saturate unless named here.
    operators : modes by the name of an operator of ONNX, where a device computes one otherwise than others of its kind.
    tensors : modes by the name of a tensor: a result, an input, or a constant.
    accumulator, bias, mean, table : see the rules of these names.
    aligns_add : see `Arithmetic.aligns`.
    islands : see `Arithmetic`.
    fuses_functions : whether functions and chains in several operators are computed as one, and rounded once.
    """

    rounding: Rounding = Rounding.HALF_EVEN
    overflow: Overflow = Overflow.SATURATE
    kinds: Mapping[Kind, Modes] = field(default_factory=dict, hash=False)
    operators: Mapping[str, Modes] = field(default_factory=dict, hash=False)
    tensors: Mapping[str, Modes] = field(default_factory=dict, hash=False)
    accumulator: AccumulatorRule = AccumulatorRule()
    bias: BiasRule = BiasRule()
    mean: MeanRule = MeanRule()
    table: TableRule = TableRule()
    aligns_add: bool = False
    islands: frozenset[str] = frozenset()
    fuses_functions: bool = True

    def modes(self, kind: Kind, tensor: str, operator: str = "") -> Modes:
        """Return the rounding and overflow of a tensor of a kind, which an operator computes; neither is None."""
        general = Modes(self.rounding, self.overflow)
        if kind == "constants":
            general = EXACT_CONSTANTS
        none = Modes()
        own = self.tensors.get(tensor, none)
        of_operator, of_kind = self.operators.get(operator, none), self.kinds.get(kind, none)
        if kind in NARROW_KINDS:
            of_operator, of_kind = of_kind.over(of_operator), self.kinds.get("linear", none)
        return own.over(of_operator).over(of_kind).over(general)

    def of(self, kind: Kind, tensor: str, operator: str = "") -> Arithmetic:
        """Return the arithmetic of a step of a kind, which computes a tensor of an operator."""
        key = kind, operator, self.tensors.get(tensor)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._of(kind, tensor, operator)
        return found

    @cached_property
    def _known(self) -> dict[tuple[Kind, str, Modes | None], Arithmetic]:
        """The arithmetics that were asked for: few, as most steps of a model differ in nothing that they depend on."""
        return {}

    @cached_property
    def constants(self) -> Modes:
        """The rounding and overflow of constants without rules of their own; neither is None."""
        return self.modes("constants", "")

    def _of(self, kind: Kind, tensor: str, operator: str) -> Arithmetic:
        modes = self.modes(kind, tensor, operator)
        assert modes.rounding is not None
        assert modes.overflow is not None
        return Arithmetic(
            modes.rounding,
            modes.overflow,
            self.accumulator,
            self.bias,
            self.mean,
            self.table.of(operator),
            self.constants,
            self.aligns_add and kind == "add",
            self.islands,
        )

    @property
    def differences(self) -> tuple[str, ...]:
        """The names of the fields that differ from the default."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(_DEFAULT, f.name))


_DEFAULT = Rules()
