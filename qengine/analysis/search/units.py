"""Units: the parts of a model with a word length each. A constant is one; so are activations that share a format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qengine.errors import OptionError
from qengine.model.passes.hidden_tensors import cells_of_recurrent
from qengine.qformat import FRACTION_BITS, Format, QFormat
from qengine.quantization.calibration import CalibrationOptions, FormatChooser, Observation
from qengine.quantization.calibration.outputs import WIDE
from qengine.quantization.calibration.shifts import Product, limit_results, products_of
from qengine.quantization.calibration.tensors import quantized_tensors
from qengine.quantization.calibration.weight_rules import factors_of
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
    formats : formats of those tensors that a run has, by word length and name.
    """

    name: str
    kind: str
    tensors: tuple[str, ...]
    widths: tuple[int, ...]
    tensor_formats: Mapping[int, Mapping[str, FormatText]]
    formats: Mapping[int, Mapping[str, Format]]

    def spelled(self, width: int) -> str:
        """Return the format of the tensor `name` with a word length as text."""
        return str(self.formats.get(width, {}).get(self.name, ""))


class Units(tuple[Unit, ...]):
    """The units of a model, in its order, and the shifts that their formats must keep.

    Attributes
    ----------
    products : linear operators of the model.
    shifts : least and most shift to the right of their sums; None for any.
    """

    products: tuple[Product, ...] = ()
    shifts: tuple[int, int] | None = None


def units_of(
    observation: Observation,
    options: CalibrationOptions,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    session_options: SessionOptions,
) -> Units:
    """Return the units of a model, in its order, with formats of every word length from one observation.

    A bias is held at the fraction bits of input and weights together, in 32 bits; weights leave room for it with
    activations of the longest word, even where activations get a shorter one. Where the target wants weights with the
    word length of their operand, both are one unit.

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

    def of_constants(lengths: Sequence[int]) -> dict[int, Mapping[str, FormatText]]:
        return {bits: chooser.formats(_with_widths(options, bits, longest, fixed)) for bits in sorted(set(lengths))}

    chosen: dict[str, dict[int, Mapping[str, FormatText]]] = {
        CONSTANT: of_constants(weight_bits),
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
        if kind == CONSTANT and options.target is not None and not factors_of(quantized.constants[group[0]]):
            of_kind = of_constants(activation_bits)  # an addend has the words of activations
        if fixed is not None and group in outputs:
            of_kind = {fixed: next(iter(of_kind.values()))}
        elif not cells.isdisjoint(group) and options.allows_activation_bits(WIDE):
            of_kind = {WIDE: next(iter(of_kind.values()))}
        elif restricted := _with_own_words(kind, group, of_kind):
            of_kind = restricted
        names = tuple(name for name in group if all(name in formats for formats in of_kind.values()))
        if names:
            tensor_formats = {bits: {name: formats[name] for name in names} for bits, formats in of_kind.items()}
            name = next((name for name in names if name in observation.histograms), names[0])
            units.append(Unit(name, kind, names, tuple(of_kind), tensor_formats, {}))
    products = products_of(observation.optimized)
    if options.equal_word_lengths:
        units = _with_equal_words(units, products)
    found = Units(_with_formats(observation, units, session_options))
    found.products, found.shifts = products, options.constraints.shifts
    return found


def _with_own_words(
    kind: str, group: Sequence[str], of_kind: Mapping[int, Mapping[str, FormatText]]
) -> dict[int, Mapping[str, FormatText]]:
    """Return the formats of a group of activations by word lengths that it really has, as a target has only some."""
    name = next((one for one in group if all(one in formats for formats in of_kind.values())), None)
    if kind == CONSTANT or name is None:
        return {}
    found: dict[int, Mapping[str, FormatText]] = {}
    for formats in of_kind.values():
        text = formats[name]
        if isinstance(text, str):
            found.setdefault(QFormat.parse(text).bits, formats)
    return dict(sorted(found.items()))


def _with_equal_words(units: Sequence[Unit], products: Sequence[Product]) -> list[Unit]:
    """Return units in which weights are one with the operand that they are multiplied with."""
    places = {name: i for i, unit in enumerate(units) for name in unit.tensors}
    joined: dict[int, int] = {}  # place of weights to that of the operand
    for x, w, _ in products:
        if x in places and w in places and units[places[w]].kind == CONSTANT:
            joined.setdefault(places[w], places[x])
    found = []
    for i, unit in enumerate(units):
        parts = [units[w] for w, x in joined.items() if x == i]
        if i in joined:
            continue
        for part in parts:
            widths = [width for width in unit.widths if width in part.widths]
            if widths:
                formats = {n: {**unit.tensor_formats[n], **part.tensor_formats[n]} for n in widths}
                tensors = (*unit.tensors, *part.tensors)
                unit = replace(unit, tensors=tensors, widths=tuple(widths), tensor_formats=formats)
            else:
                found.append(part)
        found.append(unit)
    return found


def _with_widths(options: CalibrationOptions, weights: int, rest: int, outputs: int | None) -> CalibrationOptions:
    """Return options with other word lengths; the outputs have that of the other activations for None."""
    outputs = rest if outputs is None else outputs
    return replace(options, weight_bits=weights, activation_bits=rest, output_bits=outputs)


def _with_formats(observation: Observation, units: list[Unit], options: SessionOptions) -> tuple[Unit, ...]:
    """Return the units with the formats of a session, which knows the channel axis of formats per channel."""
    formats: list[dict[int, Mapping[str, Format]]] = [{} for _ in units]
    float32 = InferenceSession(observation.model, options.in_float32(), isa="reference")
    for place in range(max(len(unit.widths) for unit in units)):
        widths = [unit.widths[min(place, len(unit.widths) - 1)] for unit in units]
        session = float32.with_options(replace(options, formats=formats_of(units, widths), isa="reference"))
        for unit, width, known in zip(units, widths, formats, strict=True):
            own = {name: session.formats[name] for name in unit.tensors if name in session.formats}
            if unit.name in own:
                known[width] = own
    return tuple(replace(unit, formats=known) for unit, known in zip(units, formats, strict=True))


def formats_of(units: Sequence[Unit], widths: Sequence[int]) -> dict[str, FormatText]:
    """Return the formats of an assignment by tensor, within the shifts of the units."""
    formats: dict[str, FormatText] = {}
    for unit, width in zip(units, widths, strict=True):
        formats |= unit.tensor_formats[width]
    if not isinstance(units, Units) or units.shifts is None:
        return formats
    chosen = _ChosenFormats(units, formats)
    limit_results(units.products, chosen, lambda: chosen.constants, units.shifts[0])
    return chosen.texts


class _ChosenFormats:
    """The formats of an assignment, of which those of results can be made coarser.

    Attributes
    ----------
    formats : formats of activations by tensor.
    constants : formats of constants by tensor, that with the fewest fraction bits of their channels.
    """

    def __init__(self, units: Units, texts: Mapping[str, FormatText]) -> None:
        self._texts, self._changed = texts, dict[str, QFormat]()
        self._groups = {name: unit.tensors for unit in units for name in unit.tensors}
        self.formats, self.constants = dict[str, QFormat](), dict[str, Format]()
        weights = {product.w for product in units.products}
        for name, text in texts.items():
            each = [QFormat.parse(one) for one in ([text] if isinstance(text, str) else text)]
            least = min(each, key=lambda fmt: fmt.fraction_bits)
            if isinstance(text, str) and name not in weights:
                self.formats[name] = least
            else:
                self.constants[name] = least

    def limit(self, name: str, fraction_bits: int) -> bool:
        """Give a tensor, and all that share its format, no more than some fraction bits."""
        wanted = self.formats[name]
        fmt = wanted.with_fraction_bits(max(fraction_bits, FRACTION_BITS[0]))
        same = [one for one in self._groups[name] if self.formats.get(one) == wanted]
        self.formats |= dict.fromkeys(same, fmt)
        self._changed |= dict.fromkeys(same, fmt)
        return fmt != wanted

    @property
    def texts(self) -> dict[str, FormatText]:
        """All formats as a formats file has them."""
        return {**self._texts, **{name: str(fmt) for name, fmt in self._changed.items()}}
