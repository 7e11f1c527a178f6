"""The numbers of a report: one frozen `Report`, which the page is drawn from and which is its JSON.

A part that could not be computed is None; `Report.missing` says why, by the name of the part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class NodeFacts:
    """A node of the model's graph.

    Attributes
    ----------
    name, operator, kind, within : see `qengine.analysis.inspection.NodeInfo`.
    outputs : names of its outputs.
    shape : shape of the first output as text, such as "1x16x28x28"; "" where it is not known.
    macs : multiply-accumulates in one run; None where they are not known.
    sources : places of the nodes whose outputs it reads.
    tensor : place of the first output, or of the tensor that it is computed in, in `Report.tensors`; None for none.
    """

    name: str
    operator: str
    kind: str
    within: str
    outputs: tuple[str, ...]
    shape: str
    macs: int | None
    sources: tuple[int, ...]
    tensor: int | None


@dataclass(frozen=True)
class ModelFacts:
    """A model: its digest, its inputs, outputs and nodes, and its costs in float32."""

    name: str
    digest: str
    graph_name: str
    opsets: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: int
    parameter_bytes: int
    macs: int | None
    operators: tuple[tuple[str, str, int, int | None], ...]
    nodes: tuple[NodeFacts, ...]


@dataclass(frozen=True)
class Bars:
    """A histogram in bins of one width.

    Attributes
    ----------
    low, high : ends of the first and the last bin.
    counts : number of values in each bin.
    least, most : smallest and largest value.
    outside : number of values beyond the range of the format.
    total : number of values.
    """

    low: float
    high: float
    counts: tuple[int, ...]
    least: float
    most: float
    outside: int
    total: int


@dataclass(frozen=True)
class TensorFacts:
    """A tensor in fixed point: its format, and what it costs; figures as in `qengine.analysis.blame.TensorBlame`.

    Attributes
    ----------
    format, bits, signed : format as text, its word length, and whether it has a sign.
    low, high, step : ends of the range, of the widest one where channels have their own, and the finest step.
    bars : histogram of the values in float32; None where it is left out.
    role : role of a constant, such as "weights of /stem/Conv"; "" for other tensors.
    """

    name: str
    kind: str
    operator: str
    format: str
    bits: int
    low: float
    high: float
    step: float
    shares: tuple[str, ...] = ()
    elements: int | None = None
    sqnr_db: float | None = None
    own_db: float | None = None
    output_db: float | None = None
    all_but_db: float | None = None
    gain_db: float | None = None
    share: float | None = None
    saturated: int | None = None
    underflowed: int | None = None
    unused_bits: int | None = None
    suggestion: str | None = None
    bars: Bars | None = None
    role: str = ""


@dataclass(frozen=True)
class RunFacts:
    """A row of figures: a run of the model over the data in one arithmetic.

    Attributes
    ----------
    label : arithmetic in words, such as "float32", "8 bits", or the name of a target.
    note : more on it, such as the description of a target.
    bits : word length of the activations; None for no single one.
    figures, costs : values by column of a sweep.
    error : reason why it failed; None where it did not.
    """

    label: str
    note: str
    bits: int | None
    figures: Mapping[str, float | None]
    costs: Mapping[str, float | None]
    error: str | None = None


@dataclass(frozen=True)
class MetricFacts:
    """A metric of the data: its column, its label, its unit ("share", "dB" or ""), and whether more is better."""

    name: str
    column: str
    label: str
    unit: str
    higher_is_better: bool


@dataclass(frozen=True)
class ConfusionFacts:
    """Number of samples of each class that got each class.

    Attributes
    ----------
    reference : meaning of the rows: "labels", or "float32" for the classes that it gives.
    classes : names of the classes, or their numbers.
    counts : a row for each class of the reference.
    """

    reference: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class AccuracyFacts:
    """The model in float32, in the formats of the report, for targets, and over word lengths.

    Attributes
    ----------
    task, output : kind of the evaluated output, and its name.
    samples : number of samples.
    against : reference of images, "target" or "float32"; None for other outputs.
    metric : metric of the summary and the curve.
    metrics : metrics that the rows have.
    float32, fixed : runs in float32, and in the formats of the report; None for no such run.
    targets : runs for targets.
    curve : runs over word lengths.
    front : places in `curve` of the runs that no other beats in memory of weights and quality.
    confusion : classes of the run in fixed point, or in float32 without one; None for other tasks and many classes.
    """

    task: str
    output: str
    samples: int
    against: str | None
    metric: MetricFacts
    metrics: tuple[MetricFacts, ...]
    float32: RunFacts
    fixed: RunFacts | None
    targets: tuple[RunFacts, ...]
    curve: tuple[RunFacts, ...]
    front: tuple[int, ...]
    confusion: ConfusionFacts | None = None


@dataclass(frozen=True)
class BlameFacts:
    """The noise of all tensors together, and what to do; see `qengine.analysis.blame.Blame`."""

    samples: int
    sqnr_db: float | None
    rounded_db: float | None
    constants_db: float | None
    activations_db: float | None
    verdict: tuple[str, ...]


@dataclass(frozen=True)
class OperationFacts:
    """An operation of the network in C: products, bytes of constants and of the output, estimated instructions."""

    name: str
    operator: str
    macs: int
    flash: int
    bytes: int
    in_place: bool
    instructions: int


@dataclass(frozen=True)
class LifeFacts:
    """Bytes of the arena that a tensor holds, from one operation to another."""

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class MemoryFacts:
    """The network in C: sizes in bytes, operations, and the arena over time."""

    arena: int
    bound: int
    is_least: bool
    flash: int
    inputs: int
    outputs: int
    macs: int
    instructions: int
    peak: int | None
    operations: tuple[OperationFacts, ...]
    lives: tuple[LifeFacts, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class InputFacts:
    """An input as it is fed: shape and type of one feed, and the range of all."""

    name: str
    shape: str
    dtype: str
    least: float | None
    most: float | None


@dataclass(frozen=True)
class DataFacts:
    """The data: name, digest, samples, preprocessing, and the ranges of the inputs over the samples that were read."""

    name: str
    digest: str | None
    samples: int
    batch: int
    has_labels: bool
    preprocessing: str
    inputs: tuple[InputFacts, ...]
    read: int


@dataclass(frozen=True)
class PictureFacts:
    """A picture of a sample: what it shows, its size on the page, and its PNG file in base64."""

    caption: str
    width: int
    height: int
    png: str


@dataclass(frozen=True)
class SampleFacts:
    """A sample that fixed point changes: its number from 0, its name, its SQNR, and its classes where it has some."""

    index: int
    name: str | None
    sqnr_db: float | None
    label: int | None
    float32_class: int | None
    fixed_class: int | None
    pictures: tuple[PictureFacts, ...] = ()


@dataclass(frozen=True)
class WorstFacts:
    """The samples that fixed point changes most, and how many were looked at.

    Attributes
    ----------
    samples : the samples, the worst first.
    looked_at : number of samples that were run.
    flipped : number of them whose class changes; None where there are no classes.
    mended : number of flips from a wrong class to the label; None without labels.
    broken : number of flips from the label to a wrong class; None without labels.
    classes : names of the classes, in the order of their numbers; () if they are unknown.
    """

    samples: tuple[SampleFacts, ...]
    looked_at: int
    flipped: int | None
    mended: int | None
    broken: int | None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CommandFacts:
    """A command line that gives the numbers of a part of the report."""

    section: str
    text: str


@dataclass(frozen=True)
class Report:
    """All numbers of a report.

    Attributes
    ----------
    summary, next_step : outcome and advice, in a sentence each.
    formats : origin of the formats in words; "" in float32.
    missing : reasons why a part is None, by name.
    notes : lines on losses and on what was left out.
    versions : versions by name.
    """

    summary: str
    next_step: str
    model: ModelFacts
    formats: str
    tensors: tuple[TensorFacts, ...] = ()
    accuracy: AccuracyFacts | None = None
    blame: BlameFacts | None = None
    memory: MemoryFacts | None = None
    data: DataFacts | None = None
    worst: WorstFacts | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    commands: tuple[CommandFacts, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
