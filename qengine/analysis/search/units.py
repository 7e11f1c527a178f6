"""Units: the parts of a model with a word length each. A constant is one; so are activations that share a format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qengine.errors import OptionError
from qengine.model.passes.hidden_tensors import cells_of_recurrent
from qengine.qformat import Format
from qengine.quantization.calibration import CalibrationOptions, FormatChooser, Observation
from qengine.quantization.calibration.outputs import WIDE
from qengine.quantization.calibration.tensors import quantized_tensors
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

CONSTANT, ACTIVATION = "constant", "activation"
FormatText = str | list[str]
"""A format as a formats file holds it: its text, or a list of one text per channel."""


@dataclass(frozen=True)
class Unit:
    """Tensors that share one format.

    Attributes
    ----------
    name : the tensor among them that a run computes first.
    kind : "constant", or "activation", inputs among them.
    tensors : names of all of them in the model.
    widths : word lengths to choose from, the shortest first.
    tensor_formats : formats by word length and tensor, as a formats file has them.
    formats : format of the tensor `name` by word length.
    """

    name: str
    kind: str
    tensors: tuple[str, ...]
    widths: tuple[int, ...]
    tensor_formats: Mapping[int, Mapping[str, FormatText]]
    formats: Mapping[int, Format]


def units_of(
    observation: Observation,
    options: CalibrationOptions,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    session_options: SessionOptions,
) -> tuple[Unit, ...]:
    """Return the units of a model, in its order, with formats of every word length from one observation.

    A bias is held at the fraction bits of input and weights together, in 32 bits; weights leave room for it with
    activations of the longest word, even where activations get a shorter one.

    Parameters
    ----------
    observation
        Result of `qengine.quantization.calibration.observe`.
    options
        Options by which formats are chosen; of their word lengths only that of the outputs counts.
    weight_bits, activation_bits
        Word lengths to choose from.
    session_options
        Options of the sessions that run the model.

    Raises
    ------
    QEngineError
        If a word length is not within 2 to 16, or a tensor has no format.
    """
    for name, bits in ((CONSTANT, weight_bits), (ACTIVATION, activation_bits)):
        if not bits:
            raise OptionError(f"there are no word lengths for {name}s: give at least one")
    longest, chooser = max(activation_bits), FormatChooser.of(observation)
    fixed = None if isinstance(options.output_bits, str) else options.output_bits  # else the search chooses
    chosen: dict[str, dict[int, Mapping[str, FormatText]]] = {
        CONSTANT: {
            bits: chooser.formats(_with_widths(options, bits, longest, fixed)) for bits in sorted(set(weight_bits))
        },
        ACTIVATION: {
            bits: chooser.formats(_with_widths(options, bits, bits, fixed)) for bits in sorted(set(activation_bits))
        },
    }
    quantized = quantized_tensors(observation.model, observation.optimized, options.ties)
    groups = [(ACTIVATION, group) for group in quantized.groups] + [(CONSTANT, (name,)) for name in quantized.constants]
    place = {name: i for i, name in enumerate(quantized.order)}
    units = []
    outputs = set() if fixed is None else chooser.output_groups(options)
    cells = cells_of_recurrent(observation.model)
    for kind, group in sorted(groups, key=lambda one: min(place[name] for name in one[1] if name in place)):
        of_kind = chosen[kind]
        if fixed is not None and group in outputs:
            of_kind = {fixed: next(iter(of_kind.values()))}
        elif not cells.isdisjoint(group):
            of_kind = {WIDE: next(iter(of_kind.values()))}
        names = tuple(name for name in group if all(name in formats for formats in of_kind.values()))
        if names:
            tensor_formats = {bits: {name: formats[name] for name in names} for bits, formats in of_kind.items()}
            name = next((name for name in names if name in observation.histograms), names[0])
            units.append(Unit(name, kind, names, tuple(of_kind), tensor_formats, {}))
    return _with_formats(observation, units, session_options)


def _with_widths(options: CalibrationOptions, weights: int, rest: int, outputs: int | None) -> CalibrationOptions:
    """Return options with other word lengths; the outputs have that of the other activations for None."""
    outputs = rest if outputs is None else outputs
    return replace(options, weight_bits=weights, activation_bits=rest, output_bits=outputs)


def _with_formats(observation: Observation, units: list[Unit], options: SessionOptions) -> tuple[Unit, ...]:
    """Return the units with the formats of a session, which knows the channel axis of formats per channel."""
    formats: list[dict[int, Format]] = [{} for _ in units]
    float32 = InferenceSession(observation.model, options.in_float32(), isa="reference")
    for place in range(max(len(unit.widths) for unit in units)):
        widths = [unit.widths[min(place, len(unit.widths) - 1)] for unit in units]
        session = float32.with_options(replace(options, formats=formats_of(units, widths), isa="reference"))
        for unit, width, known in zip(units, widths, formats, strict=True):
            if unit.name in session.formats:
                known[width] = session.formats[unit.name]
    return tuple(replace(unit, formats=known) for unit, known in zip(units, formats, strict=True))


def formats_of(units: Sequence[Unit], widths: Sequence[int]) -> dict[str, FormatText]:
    """Return the formats of an assignment by tensor."""
    formats: dict[str, FormatText] = {}
    for unit, width in zip(units, widths, strict=True):
        formats |= unit.tensor_formats[width]
    return formats
