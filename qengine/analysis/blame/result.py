"""Result of `blame`: the noise of every tensor of a model, and a better format where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qengine.qformat import Format
from qengine.quantization.calibration.histogram import Histogram
from qengine.results import Record, Result


@dataclass(frozen=True)
class Suggestion:
    """A better format for a tensor.

    Attributes
    ----------
    text : the change in a few words.
    format : the format; for weights it may be one format per channel.
    gain_db : gain in SQNR of the tensor alone, in dB, computed from its histogram.
    """

    text: str
    format: Format
    gain_db: float


@dataclass(frozen=True)
class TensorBlame:
    """Noise of one tensor, alone and in the run.

    Attributes
    ----------
    name : name of the tensor in the model.
    kind : "input", "activation" or "constant".
    operator : operator that computes it; for a constant, the first operator that reads it.
    format : format of the tensor.
    shares : names of the tensors that must have the same format, because only operators that keep it lie between them.
    elements : number of values seen in all runs; for a constant, its number of elements. 0 for a tensor of a
        graph inside of a node, whose codes are not counted.
    sqnr_db : SQNR of the tensor in the run in fixed point, against float32: the noise of everything before it included.
    own_db : SQNR at the tensor itself of rounding its float32 values. None where the run does not round the tensor,
        because it only holds moved codes.
    output_db : SQNR at the outputs of a float32 run in which only this tensor is rounded. With several outputs it is
        computed from the mean of their ratios of noise to signal. None where the run does not round the tensor.
    all_but_db : SQNR at the outputs of a float32 run in which all tensors but this one are rounded.
    gain_db : gain of `all_but_db` over `Blame.rounded_db`: what this tensor costs among the others. None where one
        of them is not a number.
    noise : energy of the noise that this tensor alone causes, by output, in squared units of the output.
    sensitivity : noise over signal at the outputs, on average: `output_db` as a ratio. 0 where the run does not round
        the tensor.
    share : sensitivity of the tensor over the sum of all sensitivities.
    saturated, underflowed : number of codes of the run in fixed point that saturated, and of numbers other than 0 that
        got the code 0.
    unused_bits : number of top bits of the word that no code needs.
    suggestion : a better format; None where none is clearly better.
    role : role of a constant, such as "weights of /stem/Conv"; None for other tensors.
    """

    name: str
    kind: str
    operator: str
    format: Format
    shares: tuple[str, ...]
    elements: int
    sqnr_db: float | None
    own_db: float | None
    output_db: float | None
    all_but_db: float | None
    gain_db: float | None
    noise: Mapping[str, float]
    sensitivity: float
    share: float
    saturated: int
    underflowed: int
    unused_bits: int
    suggestion: Suggestion | None
    role: str | None = None


@dataclass(frozen=True)
class GroupBlame:
    """Noise of several tensors as one; the figures are those of `TensorBlame`.

    Attributes
    ----------
    name : name of the group.
    tensors : names of its tensors.
    output_db, all_but_db, gain_db, noise, sensitivity : figures of runs in which these tensors alone are rounded, or
        all tensors but these.
    """

    name: str
    tensors: tuple[str, ...]
    output_db: float | None
    all_but_db: float | None
    gain_db: float | None
    noise: Mapping[str, float]
    sensitivity: float


@dataclass(frozen=True, repr=False)
class Blame(Result):
    """Result of `blame`.

    Attributes
    ----------
    tensors : the tensors with formats, the largest sensitivity first.
    groups : the groups, the largest gain first.
    outputs : names of the outputs at which noise was measured.
    sqnr_db : SQNR at the outputs of the run in fixed point; several outputs as in `TensorBlame.output_db`.
    rounded_db : SQNR at the outputs of a float32 run in which all tensors are rounded.
    sum_db : SQNR at the outputs if the noises that the tensors cause alone just added up.
    constants_db, activations_db : SQNR at the outputs of float32 runs in which all constants, or all inputs and
        activations, are rounded.
    runs : number of feeds.
    verdict : sentences that say what to do.
    notes : losses that these figures do not show, one line each.
    histograms : histogram of the float32 values of every tensor, by name.
    """

    tensors: tuple[TensorBlame, ...]
    groups: tuple[GroupBlame, ...]
    outputs: tuple[str, ...]
    sqnr_db: float | None
    rounded_db: float | None
    sum_db: float | None
    constants_db: float | None
    activations_db: float | None
    runs: int
    verdict: tuple[str, ...]
    notes: tuple[str, ...]
    histograms: Mapping[str, Histogram]

    @property
    def summary(self) -> str:
        """The result in one line."""
        return next(iter(self.verdict), f"{len(self.tensors)} tensors")

    def records(self) -> list[Record]:
        """Return a row for each tensor, the largest sensitivity first."""
        return [_row(one) for one in self.tensors]

    def record(self) -> Record:
        """Return the whole result but the histograms as an object of plain values."""
        return {name: value for name, value in super().record().items() if name != "histograms"}

    def better_formats(self) -> dict[str, Format]:
        """Return the formats of all tensors with the better ones in place, for `formats=` of another run."""
        found = {one.name: one.format for one in self.tensors}
        for one in reversed(self.tensors):  # of those that share a format, what causes most noise chooses
            if one.suggestion is not None:
                found |= {name: one.suggestion.format for name in (one.name, *one.shares) if name in found}
        return found

    def __getitem__(self, name: str) -> TensorBlame:
        """Return the result for a tensor; raise KeyError for an unknown name."""
        for one in self.tensors:
            if one.name == name:
                return one
        raise KeyError(name)


def _row(one: TensorBlame) -> Record:
    """Return a tensor as a row, without what only the JSON object holds."""
    hint = one.suggestion
    known = {name: value for name, value in vars(one).items() if name not in ("noise", "suggestion")}
    better = {
        "suggestion": None if hint is None else hint.text,
        "suggested_format": None if hint is None else hint.format,
        "suggested_gain_db": None if hint is None else hint.gain_db,
    }
    return known | better
