"""What was found of a model's tensors: which of them broke it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qengine.qformat import Format
from qengine.quantization.calibration.histogram import Histogram


@dataclass(frozen=True)
class Suggestion:
    """What would serve a tensor better.

    Attributes
    ----------
    text : in a few words.
    format : what to give it instead; of several, one for each channel.
    gain_db : how much more SQNR the tensor alone has in it, from its histogram.
    """

    text: str
    format: Format
    gain_db: float


@dataclass(frozen=True)
class TensorBlame:
    """One tensor.

    Attributes
    ----------
    name : the model's own.
    kind : "input", "activation", or "weights", which any constant is that is quantized.
    operator : what computes it; of a constant, what reads it.
    format : its format.
    shares : the other tensors that have this format because operators that keep it lie between them.
    elements : how many values were seen, of all runs; of a constant, how many it has.
    sqnr_db : cumulative: of the run in fixed point against float32.
    own_db : isolated, at the tensor itself: its float32 values, rounded, against themselves. None where the tensor is
        not rounded, as only moved codes are.
    output_db : isolated, at the outputs: of a float32 run in which this tensor alone is rounded. Of several outputs it
        is of the mean of noise over signal. None where the tensor is not rounded.
    noise : energy by output that this tensor alone brings there, in the units of the output, squared.
    harm : noise over signal at the outputs, on average: what `output_db` is in dB. 0 where the tensor is not rounded.
    share : of the harm of all tensors.
    saturated, flushed : how many codes of the run in fixed point saturated, and how many became 0 without being 0.
    unused_bits : top bits of the word that no code needed.
    suggestion : what would serve it better; None where nothing clearly would.
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
    noise: Mapping[str, float]
    harm: float
    share: float
    saturated: int
    flushed: int
    unused_bits: int
    suggestion: Suggestion | None


@dataclass(frozen=True)
class Blame:
    """What `blame` found.

    Attributes
    ----------
    tensors : the most harmful first.
    outputs : where noise was measured.
    sqnr_db : of the run in fixed point at the outputs; like `TensorBlame.output_db`, as are the two below.
    weights_db, activations_db : of float32 runs in which all constants, or all inputs and activations, are rounded.
    runs : how many feeds were seen.
    notes : what there is to know, one line each.
    histograms : of the float32 values of every tensor, by name.
    """

    tensors: tuple[TensorBlame, ...]
    outputs: tuple[str, ...]
    sqnr_db: float | None
    weights_db: float | None
    activations_db: float | None
    runs: int
    notes: tuple[str, ...]
    histograms: Mapping[str, Histogram]

    def __getitem__(self, name: str) -> TensorBlame:
        """Return what was found of a tensor; KeyError where there is none of the name."""
        for one in self.tensors:
            if one.name == name:
                return one
        raise KeyError(name)
