"""Wanted: what a reader of samples needs to know of the model and of the options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, OptionError
from qengine.memory import MAX_ELEMENTS
from qengine.model.graph import Graph, Value
from qengine.model.static_values import value_inputs


@dataclass(frozen=True)
class Wanted:
    """The inputs that samples must feed, and how they are read.

    Attributes
    ----------
    graph : the model.
    given : names of the inputs that are the same in every run, which samples do not feed.
    preprocessing : conversion of pixels to numbers.
    max_elements : limit on the number of elements of a sample.
    label_column : column of a table that holds the labels; None for the one whose name says so.
    """

    graph: Graph
    given: frozenset[str] = frozenset()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    max_elements: int = MAX_ELEMENTS
    label_column: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.preprocessing, Preprocessing):
            example = "mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=256, crop=224"
            what = f"not {type(self.preprocessing).__name__} {self.preprocessing!r}"
            raise OptionError(f"preprocessing is a qengine.Preprocessing, such as Preprocessing.of({example}), {what}")

    @property
    def inputs(self) -> list[Value]:
        """The inputs that samples must feed."""
        return [value for value in self.graph.inputs if value.name not in self.given]

    @cached_property
    def single(self) -> frozenset[str]:
        """The names of the inputs that decide shapes: they are the same in every run."""
        return value_inputs(self.graph)

    def of_targets(self, what: str) -> Wanted:
        """Return what is wanted of true outputs: their pixels become numbers, and their sizes stay.

        Raises
        ------
        FeedError
            If preprocessing resizes or crops; `what` names the true outputs.
        """
        if self.preprocessing.resize or self.preprocessing.crop:
            raise FeedError(
                f"{what} holds targets, which --resize and --crop do not change: give them and the inputs in the right "
                "sizes, and leave the options out"
            )
        convert = tuple(name for name in self.preprocessing.convert if name != "size")
        return replace(self, preprocessing=replace(self.preprocessing, convert=convert))

    @property
    def number_of_classes(self) -> int | None:
        """The number of scores that the model gives a sample; None where its outputs do not say."""
        for value in self.graph.outputs:
            shape = value.shape
            if shape is not None and len(shape) == 2 and isinstance(shape[1], int) and shape[1] > 1:
                return shape[1]
        return None

    def only_input(self, what: str) -> Value:
        """Return the only input that samples must feed.

        Raises
        ------
        FeedError
            If there are more inputs, or none; `what` begins the message, such as "image a.png feeds".
        """
        wanted = self.inputs
        if len(wanted) == 1:
            return wanted[0]
        listed = ", ".join(f"'{value.name}'" for value in wanted) or "none"
        raise FeedError(
            f"{what} one input, and the model needs {listed}; give the others with -i NAME=VALUE, or all samples in an "
            ".npz file, or in a folder of one .npy file for each input"
        )
