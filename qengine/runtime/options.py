"""SessionOptions: the options of a session, one frozen object that every function that makes sessions passes whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TypedDict

from qengine.checks import check_whole_number
from qengine.errors import OptionError, did_you_mean
from qengine.kernels.isa import REFERENCE, Isa, available, choose
from qengine.memory import MAX_ELEMENTS, parse_size
from qengine.model.formats.assign import FormatRequest
from qengine.model.formats.files import FormatsByName, RecordedFormats, read_formats
from qengine.model.rules import Modes, Rules
from qengine.model.steps import ISLANDS
from qengine.qformat import QFormat, overflow_mode, rounding_mode
from qengine.targets import Target
from qengine.targets.run_rules import RulesOption, Shorthands, read_rules, replaced, rules_of_run

Formats = FormatsByName | str | os.PathLike[str]
"""Formats by tensor name, or the path of a JSON file of them."""


MAX_ITERATIONS = 10_000
"""The default limit on the iterations of a run."""

_RANGES = (("threads", 1, 1024), ("accumulator_bits", 2, 64), ("max_elements", 1, None), ("max_iterations", 1, None))

_ALWAYS_READ = ("isa", "threads", "max_elements", "max_memory", "max_iterations")
"""Options that also apply in float32."""


class SessionKeywords(TypedDict, total=False):
    """The fields of `SessionOptions` as keyword arguments."""

    qformat: QFormat | str | None
    weight_qformat: QFormat | str | None
    formats: Formats | None
    target: Target | str | os.PathLike[str] | None
    rules: RulesOption | str | os.PathLike[str] | None
    rounding: str | None
    overflow: str | None
    accumulator_bits: int | None
    per_channel: bool
    islands: Iterable[str] | str | None
    strict: bool
    isa: str | None
    threads: int | None
    max_elements: int
    max_memory: int | str | None
    max_iterations: int


@dataclass(frozen=True)
class SessionOptions:
    """Frozen options of a session: formats, arithmetic, and limits of a run.

    Attributes
    ----------
    qformat
        Format of every activation that `formats` does not name, such as "Q4.3".
    weight_qformat
        Format of every constant that `formats` does not name. By default each constant has the word
        length of `qformat` and the largest number of fraction bits at which no value saturates.
    formats
        Formats by tensor name, or the path of a JSON file of them.
    target
        Device whose rules a run has: a `Target`, the name of a bundled one, or the path of a file.
    rules
        Single rules, which replace those of the target: a mapping such as ``{"mean.rounding": "trunc"}``, or such as
        TOML's [rules] in a target's file; the path of a file with such a table; or `Rules`, which replace them all.
    rounding, overflow
        Rounding and overflow of the inputs and of every requantization: names of a `Rounding` and an `Overflow`. None
        for those of the target, or half_even and saturate.
    accumulator_bits
        Width of the accumulators of linear operators, 2 to 64: the low bits of each sum are kept, as in hardware of
        that width. None for that of the target, or for all bits.
    per_channel
        Whether weights have one number of fraction bits for each output channel.
    islands
        Families of operators that are computed in float32 although fixed point has a rule for them: "softmax" (Softmax
        and LogSoftmax), "norm" (normalizations) and "recurrent" (LSTM, GRU, RNN), as names or as one text with commas.
        None for those of the target, or for none.
    strict
        Whether a model is refused in which an operator has no fixed-point rule, instead of computing the operator in
        float32.
    isa
        Instruction set that kernels are compiled for: "avx512vnni", "avx2" or "generic"; or "reference", their
        definition in NumPy. By default the environment variable QENGINE_ISA, or the best that the CPU has.
    threads
        Number of threads of a run, 1 to 1024; None for one per core. It never changes a result in fixed point.
    max_elements
        Largest number of elements of a tensor in a run, 1 or more. A model with a larger one is refused.
    max_memory
        Largest number of bytes that a run may have in use at the same time, as a number or a text such as "2G". None
        for 80 % of the memory of the machine, or of the container that limits it.
    max_iterations
        Largest number of iterations of Loop, Scan and SequenceMap in a run, all together.

    Raises
    ------
    OptionError
        If an option is not valid.
    FormatError
        If a format, a rounding or an overflow does not exist.
    TargetError
        If a target does not exist, or rules are not allowed or contradict each other.
    """

    qformat: QFormat | str | None = None
    weight_qformat: QFormat | str | None = None
    formats: Formats | None = field(default=None, hash=False)
    rounding: str | None = None
    overflow: str | None = None
    accumulator_bits: int | None = None
    per_channel: bool = False
    islands: Iterable[str] | str | None = None
    strict: bool = False
    isa: str | None = None
    threads: int | None = None
    max_elements: int = MAX_ELEMENTS
    max_memory: int | str | None = None
    max_iterations: int = MAX_ITERATIONS
    target: Target | str | os.PathLike[str] | None = None
    rules: RulesOption | str | os.PathLike[str] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        self.instruction_set()
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None or name.startswith("max_"):
                object.__setattr__(self, name, check_whole_number(name, value, least, most))
        if self.max_memory is not None:
            object.__setattr__(self, "max_memory", parse_size("max_memory", self.max_memory))
        object.__setattr__(self, "islands", None if self.islands is None else _families(self.islands))
        # Files are read, and mappings copied, once, so that all sessions with these options have the same rules.
        object.__setattr__(self, "target", None if self.target is None else Target.of(self.target))
        object.__setattr__(self, "rules", read_rules(self.rules))
        self.rules_of_run()
        # A file is read, and a mapping copied, once, so that all sessions with these options have the same formats.
        object.__setattr__(self, "formats", _read(self.formats))
        self.request()

    @property
    def requests_fixed_point(self) -> bool:
        """Whether the options alone put a run in fixed point, even one of a float32 model."""
        return self.qformat is not None or self.formats is not None

    def instruction_set(self) -> Isa | None:
        """Return the instruction set of the native kernels; None for the reference."""
        if self.isa is not None and not isinstance(self.isa, str):
            raise OptionError(f"isa must be a name such as 'avx2', not {self.isa!r}")
        try:
            return choose(self.isa)
        except ValueError as error:
            near = did_you_mean(str(self.isa), [*(isa.name for isa in available()), REFERENCE])
            raise OptionError(f"{error}{near}") from None

    def rules_of_run(self) -> Rules:
        """Return the rules of runs in fixed point: those of the target, with the options that were given over them."""
        assert self.target is None or isinstance(self.target, Target)
        assert not isinstance(self.rules, str | os.PathLike)
        modes = self.modes_of_all()
        shorthands = Shorthands(
            modes.rounding,
            modes.overflow,
            self.accumulator_bits,
            None if self.islands is None else frozenset(self.islands),
        )
        return rules_of_run(self.target, shorthands, self.rules)

    def modes_of_all(self) -> Modes:
        """Return the rounding and overflow that are given for all tensors; None where they are not."""
        rounding = None if self.rounding is None else rounding_mode(self.rounding)
        return Modes(rounding, None if self.overflow is None else overflow_mode(self.overflow))

    def notes_on_target(self) -> tuple[str, ...]:
        """Return notes on the target of runs in fixed point: whether it is verified, and what options replace of it."""
        if not isinstance(self.target, Target):
            return ()
        notes, name = [], self.target.name
        if self.target.status != "verified":
            notes.append(
                f"target {name} is unverified: {self.target.checked or 'nothing was compared with the device'}"
            )
        if changed := replaced(self.target, self.rules_of_run()):
            notes.append(f"options replace rules of target {name}: {'; '.join(changed)}")
        return tuple(notes)

    def request(self) -> FormatRequest:
        """Return the formats that the options request."""
        formats = self.formats
        assert formats is None or isinstance(formats, Mapping)
        return FormatRequest(
            _format("qformat", self.qformat),
            _format("weight_qformat", self.weight_qformat),
            formats or {},
            self.per_channel,
            fuses=self.rules_of_run().fuses_functions,
        )

    def unread_in_float32(self) -> list[str]:
        """Return the names of options that differ from their default and that a run in float32 does not read."""
        read = {"qformat", "formats", *_ALWAYS_READ}
        return [f.name for f in fields(self) if f.name not in read and getattr(self, f.name) != f.default]

    def in_float32(self) -> SessionOptions:
        """Return the options that also apply in float32; the others are the defaults."""
        return SessionOptions(**{name: getattr(self, name) for name in _ALWAYS_READ})

    def memory_limit(self) -> int | None:
        """Return the largest number of bytes in use in a run; None for the default of the machine."""
        assert not isinstance(self.max_memory, str)
        return self.max_memory


def _format(name: str, given: QFormat | str | None) -> QFormat | None:
    if given is not None and not isinstance(given, QFormat | str):
        raise OptionError(f"{name} must be a format such as Q4.3, not {given!r}")
    return None if given is None else QFormat.of(given)


def _families(given: Iterable[str] | str) -> tuple[str, ...]:
    """Return names of families of operators, each once and in the order of `ISLANDS`."""
    if not isinstance(given, str | Iterable):
        raise OptionError(f"islands must be names such as {ISLANDS[0]}, not {given!r}")
    names = given.split(",") if isinstance(given, str) else list(given)
    names = [name.strip() if isinstance(name, str) else name for name in names if name != ""]
    for name in names:
        if name not in ISLANDS:
            raise OptionError(
                f"islands name {name!r}{did_you_mean(str(name), ISLANDS)}; there are {', '.join(ISLANDS)}"
            )
    return tuple(name for name in ISLANDS if name in names)


def _read(formats: Formats | None) -> FormatsByName | None:
    if isinstance(formats, str | os.PathLike):
        return read_formats(formats)
    if formats is not None and not isinstance(formats, Mapping):
        raise OptionError(f"formats must be a mapping of tensor names or a path, not {type(formats).__name__}")
    return None if formats is None else RecordedFormats.of(formats)
