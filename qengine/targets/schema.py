"""The keys of a target's file: one table for each table of TOML, from which reader, writer and documentation are made.

Keys are the fields of the dataclasses of `qengine.model.rules` and of `Constraints`, by their names. In `[rules]` the
kinds of operators are tables of their own; `mean` and `table` are both a kind and a rule, so that their tables hold the
keys of both. `[rules.tensors.NAME]` and `[rules.operators.NAME]` hold the modes of a tensor and of an operator of ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

from qengine.model.rules import KINDS, AccumulatorRule, BiasRule, MeanRule, TableRule
from qengine.model.steps import ISLANDS
from qengine.qformat import FRACTION_BITS, Overflow, Rounding
from qengine.qformat.modes import OVERFLOW_WORDS, ROUNDING_WORDS
from qengine.targets import values
from qengine.targets.constraints import Constraints
from qengine.targets.values import Value

Keys = Mapping[str, Value]

STATUSES = ("verified", "unverified")
_N = (FRACTION_BITS.start, FRACTION_BITS.stop - 1)


def _words(kind: type[Any], name: str) -> tuple[str, ...]:
    """Return the words that the type of a field lists."""
    hint = get_type_hints(kind)[name]
    found = [word for one in (hint, *get_args(hint)) for word in get_args(one) if isinstance(word, str)]
    return tuple(dict.fromkeys(found))


_ROUNDING = values.choice(Rounding, Rounding, ROUNDING_WORDS)
_OVERFLOW = values.choice(Overflow, Overflow, OVERFLOW_WORDS)

TOP: Keys = MappingProxyType(
    {
        "name": values.text("text without blanks"),
        "description": values.text(),
        "status": values.choice(STATUSES),
        "checked": values.text(),
        "extends": values.text("the name of a bundled target, or the path of a file"),
        "sources": values.texts(),
        "notes": values.texts(),
    }
)
MODES: Keys = MappingProxyType({"rounding": _ROUNDING, "overflow": _OVERFLOW})
RULES: Keys = MappingProxyType(
    {
        **MODES,
        "aligns_add": values.flag(),
        "fuses_functions": values.flag(),
        "islands": values.names_of(ISLANDS, frozenset),
    }
)
PARTS: Mapping[str, Keys] = MappingProxyType(
    {
        "accumulator": {
            "bits": values.whole(2, 64, "all"),
            "overflow": values.choice(_words(AccumulatorRule, "overflow")),
            "order": values.choice(_words(AccumulatorRule, "order")),
            "rounds_inside": values.flag(),
            "fraction_bits": values.whole(*_N, "all"),
            "rounding": _ROUNDING,
        },
        "bias": {
            "bits": values.whole(2, 64),
            "fraction_bits": values.whole(*_N, words=_words(BiasRule, "fraction_bits")),
            "rounding": _ROUNDING,
            "shift": values.whole(0, 31),
        },
        "mean": {"method": values.choice(_words(MeanRule, "method")), "counts_pads": values.flag("model")},
        "table": {
            "method": values.choice(_words(TableRule, "method")),
            "entries": values.power_of_two(2, 65536),
            "limit": values.power_of_two(1, 65536, _words(TableRule, "limit")),
            "functions": values.operators(),
            "limits": values.powers_by_operator(1, 65536),
            "has_end": values.flag(),
            "index_rounding": _ROUNDING,
            "line_rounding": _ROUNDING,
            "entry_bits": values.whole(2, 32, "output"),
            "entry_fraction_bits": values.whole(*_N, "output"),
            "entry_rounding": _ROUNDING,
            "entry_overflow": values.choice(_words(TableRule, "entry_overflow")),
            "min_bits": values.whole(2, 16),
        },
    }
)
"""Keys of the rules that have a dataclass of their own, by the field of `Rules`."""

TABLES: Mapping[str, Keys] = MappingProxyType(
    {name: {**PARTS.get(name, {}), **(MODES if name in KINDS else {})} for name in (*KINDS, "accumulator", "bias")}
)
"""Keys of the tables of `[rules]`."""

CONSTRAINTS: Keys = MappingProxyType(
    {
        "activation_bits": values.word_lengths(),
        "weight_bits": values.word_lengths(),
        "equal_bits": values.flag(),
        "signed_only": values.flag(),
        "per_channel": values.choice(_words(Constraints, "per_channel")),
        "symmetric_weights": values.flag(),
        "shifts": values.shifts(),
        "equal_formats": values.operators(),
        "equal_operands": values.operators(),
        "input_formats": values.formats_by_operator(),
        "output_formats": values.formats_by_operator(),
        "operators": values.operators("any"),
        "refused": values.operators(),
    }
)
