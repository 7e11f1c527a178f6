"""Result of a correction: the corrected model, its formats, and an entry for every layer that was looked at."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qengine.errors import OptionError
from qengine.model.formats.files import FormatsByName
from qengine.model.graph import Graph
from qengine.quantization.calibration import Feeds
from qengine.results import Record, Result, plain


@dataclass(frozen=True)
class CorrectionEntry:
    """Record of what one correction did with one layer.

    Attributes
    ----------
    correction : name of the correction.
    layer : the operator, as error messages name it.
    is_done : whether the layer was changed.
    text : effect of the change, or the reason why the layer was not changed.
    """

    correction: str
    layer: str
    is_done: bool
    text: str

    def __str__(self) -> str:
        return f"{self.correction}, {self.layer}: {'' if self.is_done else 'left, '}{self.text}"


@dataclass(frozen=True)
class Verdict:
    """Verdict of a guarded recipe on one of its steps, from the outputs of the model on runs that were held out.

    Attributes
    ----------
    step : name of the correction.
    is_kept : whether the model has it.
    before_db, after_db : SQNR of the outputs without and with the step; `after_db` is None where nothing was measured.
    runs : number of runs.
    reason : why it was refused, or kept although the outputs lose by it alone; "" otherwise.
    """

    step: str
    is_kept: bool
    before_db: float
    after_db: float | None
    runs: int
    reason: str = ""

    def __str__(self) -> str:
        word = ("kept" if self.is_kept else "refused") + (f" ({self.reason})" if self.reason else "")
        if self.after_db is None:
            return f"{self.step} {word}"
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        return f"{self.step} {word}: {self.before_db:.2f} dB -> {self.after_db:.2f} dB at the outputs on {runs}"


@dataclass(frozen=True, repr=False)
class CorrectedModel(Result):
    """A corrected model, and the formats that it was corrected for.

    Attributes
    ----------
    graph : the model, which `InferenceSession` takes.
    entries : entry for each layer that a correction changed or left.
    formats : formats by tensor name, of a correction that needs formats: the given ones and those of all weights.
    verdicts : verdict on each step of a guarded recipe; the entries are those of the steps that were kept.
    """

    graph: Graph
    entries: tuple[CorrectionEntry, ...]
    formats: FormatsByName = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()

    @property
    def summary(self) -> str:
        """The result in one line."""
        return summary_of(self.graph.name, self.entries, self.verdicts)

    def records(self) -> list[Record]:
        """Return a row for each layer that a correction changed or left."""
        return [dict(vars(one)) for one in self.entries]

    def record(self) -> Record:
        """Return the result without the model as an object of plain values."""
        return plain({name: getattr(self, name) for name in ("entries", "formats", "verdicts")})  # type: ignore[no-any-return]


def summary_of(name: str, entries: Sequence[CorrectionEntry], verdicts: Sequence[Verdict]) -> str:
    """Return what was done to a model in one line."""
    done = sum(one.is_done for one in entries)
    kept = [one.step for one in verdicts if one.is_kept]
    words = f"{done} of {len(entries)} layers changed" if entries else "nothing corrected"
    return f"{name or 'a model'}: {words}" + (f" by {', '.join(kept)}" if kept else "")


def as_feeds(data: Feeds) -> Iterable[Mapping[str, Any]]:
    """Return the feeds of runs; one mapping alone stands for one run.

    Raises
    ------
    OptionError
        If the data is not an iterable.
    """
    if isinstance(data, Mapping):
        return [data]
    if not isinstance(data, Iterable):
        raise OptionError(f"data is an iterable of feeds, each a mapping of input names and arrays, not {data!r}")
    return data
