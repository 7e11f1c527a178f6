"""What a correction gives, and says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from qengine.errors import OptionError
from qengine.model.formats.files import FormatsByName
from qengine.model.graph import Graph

Data = Iterable[Mapping[str, Any]]
"""Feeds of one run after the other, each as `InferenceSession.run` takes them."""


@dataclass(frozen=True)
class Entry:
    """What was done with one layer.

    Attributes
    ----------
    correction : its name.
    layer : the operator, as errors name it.
    is_done : whether the layer was changed.
    text : what came of it, or why it was left as it is.
    """

    correction: str
    layer: str
    is_done: bool
    text: str

    def __str__(self) -> str:
        return f"{self.correction}, {self.layer}: {'' if self.is_done else 'left, '}{self.text}"


@dataclass(frozen=True)
class Corrected:
    """A corrected model.

    Attributes
    ----------
    graph : the model, which `InferenceSession` takes.
    entries : what was done, layer by layer.
    formats : by tensor name, of corrections that are made for formats: those that were given, and every weight's.
    """

    graph: Graph
    entries: tuple[Entry, ...]
    formats: FormatsByName = field(default_factory=dict)


def feeds_of(data: Data) -> Iterable[Mapping[str, Any]]:
    """Return the data; OptionError where it is no feeds."""
    if isinstance(data, Mapping):
        return [data]
    if not isinstance(data, Iterable):
        raise OptionError(f"data is an iterable of feeds, each a mapping of input names and arrays, not {data!r}")
    return data
