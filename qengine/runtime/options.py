"""The options of a session: one frozen object, passed whole through every function that makes sessions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict, Unpack

import numpy as np

from qengine.errors import OptionError
from qengine.kernels.isa import Isa, choose
from qengine.model.formats.assign import FormatRequest
from qengine.model.formats.files import FormatsByName, read_formats
from qengine.model.steps import Arithmetic
from qengine.qformat import QFormat, overflow_mode, rounding_mode
from qengine.runtime.plan.plan import MAX_ELEMENTS

Formats = FormatsByName | str | os.PathLike[str]
"""Formats by tensor name, or the path of a JSON file of them."""


class SessionKeywords(TypedDict, total=False):
    """The fields of `SessionOptions` as keyword arguments."""

    qformat: QFormat | str | None
    weight_qformat: QFormat | str | None
    formats: Formats | None
    rounding: str
    overflow: str
    accumulator_bits: int | None
    per_channel: bool
    strict: bool
    isa: str | None
    threads: int | None
    max_elements: int


@dataclass(frozen=True)
class SessionOptions:
    """How a session computes: its formats, its arithmetic, and the limits of a run.

    Attributes
    ----------
    qformat
        Format of every activation that `formats` does not name, such as "Q4.3".
    weight_qformat
        Format of every constant that `formats` does not name. By default each constant has the word
        length of `qformat` and the most fraction bits with which no value saturates.
    formats
        Formats by tensor name, or the path of a JSON file of them.
    rounding, overflow
        Of the inputs and of every requantization: a `Rounding` and an `Overflow`.
    accumulator_bits
        Keep so many low bits of the sums of linear operators, as hardware of that width does; None keeps all.
    per_channel
        Give weights one number of fraction bits per output channel.
    strict
        Refuse a model in which an operator has no fixed-point rule, instead of computing it in float32.
    isa
        The instruction set that kernels are compiled for: "avx512vnni", "avx2" or "generic"; or "reference", their
        definition in NumPy. By default what QENGINE_ISA says, or the best that the CPU has.
    threads
        How many threads a run may use; None for as many as there are cores. Never changes a result in fixed point.
    max_elements
        The largest tensor that a run may make.

    Raises
    ------
    OptionError
        If an option has no meaning.
    FormatError
        If a format cannot be read.
    """

    qformat: QFormat | str | None = None
    weight_qformat: QFormat | str | None = None
    formats: Formats | None = None
    rounding: str = "half_even"
    overflow: str = "saturate"
    accumulator_bits: int | None = None
    per_channel: bool = False
    strict: bool = False
    isa: str | None = None
    threads: int | None = None
    max_elements: int = MAX_ELEMENTS

    def __post_init__(self) -> None:
        self.instruction_set()
        check_whole_number("threads", self.threads, 1, 1024)
        check_whole_number("max_elements", self.max_elements, 1)
        check_whole_number("accumulator_bits", self.accumulator_bits, 2, 64)
        self.arithmetic()
        # Files are read once, so that two sessions with the same options have the same formats.
        object.__setattr__(self, "formats", _read(self.formats))
        self.request()

    @classmethod
    def of(cls, options: SessionOptions | None, changes: SessionKeywords) -> SessionOptions:
        """Return options with changes; None stands for the defaults."""
        return replace(options, **changes) if options is not None else cls(**changes)

    def with_(self, **changes: Unpack[SessionKeywords]) -> SessionOptions:
        """Return these options with changes."""
        return replace(self, **changes)

    @property
    def asks_for_fixed_point(self) -> bool:
        """Whether a run is in fixed point whatever the model is."""
        return self.qformat is not None or self.formats is not None

    def instruction_set(self) -> Isa | None:
        """Return what kernels are compiled for; None for the reference."""
        if self.isa is not None and not isinstance(self.isa, str):
            raise OptionError(f"isa is a name, not {self.isa!r}")
        try:
            return choose(self.isa)
        except ValueError as error:
            raise OptionError(str(error)) from None

    def arithmetic(self) -> Arithmetic:
        """Return how runs in fixed point round, overflow and accumulate."""
        return Arithmetic(rounding_mode(self.rounding), overflow_mode(self.overflow), self.accumulator_bits)

    def request(self) -> FormatRequest:
        """Return which formats are asked for."""
        formats = self.formats
        assert formats is None or isinstance(formats, Mapping)
        return FormatRequest(
            _format("qformat", self.qformat),
            _format("weight_qformat", self.weight_qformat),
            formats or {},
            self.per_channel,
        )

    def without_meaning_in_float32(self) -> list[str]:
        """Return the names of the options that were changed and that a run in float32 does not read."""
        read = {"qformat", "formats", "isa", "threads", "max_elements"}
        return [f.name for f in fields(self) if f.name not in read and getattr(self, f.name) != f.default]

    def in_float32(self) -> SessionOptions:
        """Return the options of the same runs in float32."""
        return SessionOptions(isa=self.isa, threads=self.threads, max_elements=self.max_elements)


def check_whole_number(name: str, given: Any, least: int, most: int | None = None) -> None:
    """Raise OptionError unless an option is left out (None) or a whole number within its limits, ends included."""
    if given is None:
        return
    is_whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
    if not is_whole or given < least or (most is not None and given > most):
        allowed = f"{least} or more" if most is None else f"within {least}..{most}"
        raise OptionError(f"{name} must be a whole number, {allowed}, not {given!r}")


def _format(name: str, given: QFormat | str | None) -> QFormat | None:
    if given is not None and not isinstance(given, QFormat | str):
        raise OptionError(f"{name} is a format such as Q4.3, not {given!r}")
    return None if given is None else QFormat.of(given)


def _read(formats: Formats | None) -> FormatsByName | None:
    if isinstance(formats, str | os.PathLike):
        return read_formats(formats)
    if formats is not None and not isinstance(formats, Mapping):
        raise OptionError(f"formats are a mapping of tensor names or a path, not {type(formats).__name__}")
    return formats
