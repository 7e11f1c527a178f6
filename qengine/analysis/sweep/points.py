"""The points of a sweep, and the grid that they come from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from qengine.checks import check_whole_number
from qengine.errors import OptionError, TargetError
from qengine.model.formats.files import read_formats
from qengine.qformat import Overflow, QFormat, Rounding, overflow_mode, rounding_mode
from qengine.quantization.calibration import AUTO, CalibrationOptions, Method
from qengine.quantization.correction import steps_of
from qengine.runtime.options import SessionOptions
from qengine.spelling import nearest
from qengine.targets import Constraints, Target, names
from qengine.targets.run_rules import Shorthands, read_rules, rules_of_run

NO_CORRECTION = "none"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A run over the data: its formats and its arithmetic. Fields without meaning for a point are None or False.

    Attributes
    ----------
    weight_bits, activation_bits : word lengths that formats are calibrated for.
    method, percentile, headroom, unsigned, tie_joins, output_bits : options of the calibration; see
        `CalibrationOptions`.
    per_channel : whether weights have one number of fraction bits for each output channel.
    qformat : a format of all activations instead; constants have its word length.
    formats : formats by tensor instead: the JSON object of a formats file.
    target : name of the device that the run computes for; None for none.
    target_rules : rules and constraints of the target, and single rules of the grid, as a JSON object; None for none.
    rounding, overflow, accumulator_bits : arithmetic of the run; None in float32, and for the target's.
    recipe : the corrections of the model, as `steps_of` orders them, with "+" between them, or "none".
    formats_name : name of the formats file; two points that differ only in it are equal.
    """

    weight_bits: int | None = None
    activation_bits: int | None = None
    method: str | None = None
    percentile: float | None = None
    headroom: float | None = None
    per_channel: bool = False
    unsigned: bool = False
    tie_joins: bool = False
    output_bits: str | None = None
    qformat: str | None = None
    formats: str | None = None
    target: str | None = None
    target_rules: str | None = None
    rounding: str | None = None
    overflow: str | None = None
    accumulator_bits: int | None = None
    recipe: str | None = None
    formats_name: str | None = field(default=None, compare=False)

    @property
    def is_float32(self) -> bool:
        """Whether the point runs in float32."""
        return self.activation_bits is None and self.qformat is None and self.formats is None

    @property
    def device(self) -> Target | None:
        """The target of the point, with the single rules of the grid; None for none."""
        return None if self.target_rules is None else _target(self.target or "rules", self.target_rules)

    @property
    def fuses(self) -> bool:
        """Whether functions in several operators are computed as one; see `Rules.fuses_functions`."""
        return self.device is None or self.device.rules.fuses_functions

    @property
    def is_calibrated(self) -> bool:
        """Whether the formats are chosen from data."""
        return self.activation_bits is not None

    @property
    def width(self) -> int | None:
        """The word length of activations; None where there is no single one, and in float32."""
        return QFormat.parse(self.qformat).bits if self.qformat else self.activation_bits

    @property
    def weight_width(self) -> int | None:
        """The word length of weights; None where there is no single one, and in float32."""
        return QFormat.parse(self.qformat).bits if self.qformat else self.weight_bits

    def calibration(self) -> CalibrationOptions:
        """Return the options by which the formats of a calibrated point are chosen."""
        assert self.weight_bits is not None
        assert self.activation_bits is not None
        assert self.method is not None
        assert self.headroom is not None
        assert self.output_bits is not None
        target, device = (self.device if self.target else None), self.device
        usual = Overflow.SATURATE if target is None else target.rules.overflow
        wanted = self.overflow or (usual if device is None else device.rules.overflow)
        return CalibrationOptions(
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            method=self.method,
            percentile=CalibrationOptions.percentile if self.percentile is None else self.percentile,
            headroom=self.headroom,
            per_channel=self.per_channel,
            unsigned=self.unsigned,
            tie_joins=self.tie_joins,
            output_bits=AUTO if self.output_bits == AUTO else int(self.output_bits),
            target=target,
            overflow=None if wanted == usual else wanted,
        )

    def arithmetic(self) -> dict[str, Any]:
        """Return the arithmetic as keywords of `SessionOptions`."""
        device = self.device
        return {
            "target": device if self.target else None,
            "rules": device.rules if device and not self.target else None,
            "rounding": self.rounding,
            "overflow": self.overflow,
            "accumulator_bits": self.accumulator_bits,
        }


@lru_cache(64)
def _target(name: str, text: str) -> Target:
    return Target.of_record({"name": name, **json.loads(text)})


FLOAT32 = Point()


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A grid of points: the product of targets, formats, roundings, overflows, accumulators and recipes, after float32.

    Attributes
    ----------
    bits : word lengths, 2 to 16, of weights and activations alike. None: 2 to 16 where no other field gives formats,
        the word length that a target has by default, and otherwise none.
    weight_bits, activation_bits : word lengths of one kind, each with each of the other's, which are `bits` where only
        one of the two is given.
    methods : methods by which formats are chosen, each a `Method`. None for "mse", and for "max" where the results of a
        target wrap.
    percentile : parameter of the method of that name.
    per_channel : values of `CalibrationOptions.per_channel`: False, True, or both. None: True, and False for
        `qformats`, as in a run.
    headroom, unsigned, tie_joins, output_bits : options of `CalibrationOptions`, for all points.
    qformats : formats of all activations, such as "Q4.3", in addition to calibrated ones.
    formats : paths of formats files, in addition to calibrated formats.
    targets : devices to compute for: a `Target`, a name, the path of a file, or "all" alone for every bundled one. A
        word length that a target does not have makes no point of it.
    rules : single rules of all points, which replace those of the targets; see `SessionOptions.rules`.
    roundings, overflows : values of `Rounding` and of `Overflow`. None for those of the target, or half_even and
        saturate.
    accumulator_bits : widths of 2 to 64 bits; None for sums that are never cut.
    recipes : corrections of the model before it is quantized, each a recipe of `qengine.quantization.correction`;
        "fold" is the model as every run computes it.

    Raises
    ------
    QEngineError
        If a value is not allowed, or the grid is empty.
    """

    bits: Iterable[int] | None = None
    weight_bits: Iterable[int] | None = None
    activation_bits: Iterable[int] | None = None
    methods: Sequence[str] | None = None
    percentile: float | None = None
    headroom: float = 1.0
    per_channel: Sequence[bool] | None = None
    unsigned: bool = CalibrationOptions.unsigned
    tie_joins: bool = False
    output_bits: int | str = AUTO
    qformats: Sequence[str] = ()
    formats: Sequence[str | os.PathLike[str]] = ()
    targets: Sequence[Target | str | os.PathLike[str]] | str = ()
    rules: Mapping[str, Any] | None = None
    roundings: Sequence[str] | None = None
    overflows: Sequence[str] | None = None
    accumulator_bits: Sequence[int | None] = (None,)
    recipes: Sequence[str] = ("fold",)

    def points(self) -> tuple[Point, ...]:
        """Return float32 and the points of the grid, each once."""
        if self.percentile is not None and Method.PERCENTILE not in (self.methods or ()):
            raise OptionError("a percentile is of method percentile")
        CalibrationOptions(output_bits=self.output_bits)  # a point has it as text
        accumulators = [self._accumulator(width) for width in self.accumulator_bits]
        roundings: list[str | None] = [str(rounding_mode(name)) for name in self.roundings or ()]
        overflows: list[str | None] = [str(overflow_mode(name)) for name in self.overflows or ()]
        recipes = ["+".join(steps_of(recipe)) or NO_CORRECTION for recipe in self.recipes]
        found = dict.fromkeys([FLOAT32])
        for target in self.devices() or (None,):
            computed = self._with_rules(target)
            own: tuple[str | None, str | None] = (None, None)
            if target is None:
                own = str(Rounding.HALF_EVEN), str(Overflow.SATURATE)
            # All of a recipe that have one choice of formats are consecutive: they run one corrected model.
            runs = list(product(recipes, roundings or [own[0]], overflows or [own[1]], accumulators))
            for chosen in self._formats(target):
                for recipe, rounding, overflow, accumulator in runs:
                    run = Point(rounding=rounding, overflow=overflow, accumulator_bits=accumulator, recipe=recipe)
                    point = replace(run, **computed, **chosen)
                    if point.is_calibrated:
                        point = replace(point, unsigned=point.calibration().may_be_unsigned)
                    found.setdefault(point)
        if len(found) == 1:
            raise OptionError(
                "the grid is empty: give word lengths, formats, roundings and overflows to try"
                + (", of words that the targets have" if self.targets else "")
            )
        return tuple(found)

    def devices(self) -> tuple[Target, ...]:
        """Return the targets of the grid, each once.

        Raises
        ------
        TargetError
            If there is no such target.
        OptionError
            If different targets have one name, as rows tell them apart by it.
        """
        given = names() if self.targets in ("all", ["all"], ("all",)) else self.targets
        if isinstance(given, str):
            raise OptionError(f"targets are a list of names, or 'all', not {given!r}")
        found: dict[str, Target] = {}
        for one in given:
            if isinstance(one, str) and nearest(one, ["all", *names()]) == "all" and not Path(one).exists():
                alone = "'all' stands alone" if one == "all" else f"no target is named '{one}'; did you mean 'all'?"
                raise TargetError(alone)
        for target in map(Target.of, given):
            if found.setdefault(target.name, target) != target:
                raise OptionError(f"two different targets are named '{target.name}': give one of them another name")
        return tuple(found.values())

    def left_out(self) -> tuple[str, ...]:
        """Return the names of the targets that have none of the word lengths of the grid."""
        return tuple(target.name for target in self.devices() if not any(True for _ in self._formats(target)))

    def _with_rules(self, target: Target | None) -> dict[str, Any]:
        """Return the fields of a point that say which rules it has."""
        if target is None and not self.rules:
            return {}
        own = Target("rules") if target is None else target
        rules = rules_of_run(own, Shorthands(), read_rules(self.rules))
        record = replace(own, rules=rules).record()
        parts = {key: record[key] for key in ("rules", "constraints") if key in record}
        return {"target": target and target.name, "target_rules": json.dumps(parts, sort_keys=True)}

    def _formats(self, target: Target | None) -> Iterator[dict[str, Any]]:
        """Yield the fields of a point that say which formats it has."""
        allowed = Constraints() if target is None else target.constraints
        wraps = target is not None and target.rules.overflow is Overflow.WRAP and self.overflows is None
        methods = self.methods or ((Method.MAX,) if wraps else (Method.MSE,))
        for weights, activations in self._widths(target):
            channels = self._channels(CalibrationOptions.per_channel and allowed.per_channel != "no")
            for method, per_channel in product(methods, channels):
                is_percentile = method == Method.PERCENTILE
                yield {
                    "weight_bits": weights,
                    "activation_bits": activations,
                    "method": str(method),
                    "percentile": (CalibrationOptions.percentile if self.percentile is None else self.percentile)
                    if is_percentile
                    else None,
                    "headroom": self.headroom,
                    "per_channel": bool(per_channel),
                    "unsigned": self.unsigned,
                    "tie_joins": self.tie_joins,
                    "output_bits": str(self.output_bits),
                }
        for text, per_channel in product(self.qformats, self._channels(SessionOptions.per_channel)):
            if not allowed.allows_format(QFormat.parse(text), "activation"):
                continue
            yield {"qformat": str(QFormat.parse(text)), "per_channel": bool(per_channel)}
        for path in self.formats:
            # A tensor that the file does not name has no format: per_channel has nothing to choose.
            yield {"formats": json.dumps(read_formats(path), sort_keys=True), "formats_name": Path(path).name}

    def _channels(self, default: bool) -> Sequence[bool]:
        return (default,) if self.per_channel is None else self.per_channel

    def _widths(self, target: Target | None) -> Iterator[tuple[int, int]]:
        """Yield the word lengths of weights and activations, as far as a target has them."""
        gives_none = self.bits is None and self.weight_bits is None and self.activation_bits is None
        if target is None:
            yield from self._given_widths()
        elif gives_none and not (self.qformats or self.formats):
            usual = CalibrationOptions(target=target)
            yield usual.weight_word_length, usual.activation_word_length
        elif not gives_none:
            one = target.constraints
            for weights, activations in self._given_widths():
                if one.weight_bits is not None and weights not in one.weight_bits:
                    continue
                if one.activation_bits is not None and activations not in one.activation_bits:
                    continue
                if not one.equal_bits or weights == activations:
                    yield weights, activations

    def _given_widths(self) -> Iterator[tuple[int, int]]:
        bits, weights, activations = (
            None if given is None else list(given) for given in (self.bits, self.weight_bits, self.activation_bits)
        )
        if weights is not None and activations is not None and bits is not None:
            raise OptionError("bits, weight_bits and activation_bits together have no meaning: give two of them")
        if bits is None and not (weights is not None and activations is not None):
            bits = [] if (self.qformats or self.formats) and weights is activations is None else list(range(2, 17))
        if weights is None and activations is None:
            yield from ((width, width) for width in bits or ())
        else:
            yield from product(weights if weights is not None else bits or (), activations or bits or ())

    @staticmethod
    def _accumulator(width: int | None) -> int | None:
        return None if width is None else check_whole_number("accumulator_bits", width, 2, 64)
