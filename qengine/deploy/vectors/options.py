"""Options of a pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from qengine.checks import check_whole_number
from qengine.deploy.vectors.layout import Layout
from qengine.deploy.vectors.text_files import Lanes, check_kinds
from qengine.errors import OptionError

MOST_EDGES = 1000


class VectorKeywords(TypedDict, total=False):
    """The fields of `VectorOptions` as keyword arguments."""

    kinds: tuple[str, ...] | str
    accumulators: bool
    fetch: tuple[str, ...] | str | None
    lanes: int
    first_lane: str
    element_order: str
    edges: int
    operator_vectors: bool
    seed: int


@dataclass(frozen=True)
class VectorOptions:
    """Options of a pack.

    Attributes
    ----------
    kinds
        Kinds of files: npy, hex, c, mif, coe, as names or as one text with commas. A pack always has .npy.
    accumulators
        Whether the accumulators of each operator are written, before they are rounded.
    fetch
        Names of the tensors whose files are written; None for all.
    lanes
        Words of a line of a hex, .mif or .coe file.
    first_lane
        End of a line at which its first word stands: "low", the right, or "high".
    element_order
        Order of elements in files other than .npy: nchw, nhwc, or nchwc4 with any number.
    edges
        Most edge vectors of the whole network; 0 searches none.
    operator_vectors
        Whether vectors of single operators are made.
    seed
        Seed of the searches.

    Raises
    ------
    OptionError
        If an option is not valid.
    """

    kinds: tuple[str, ...] | str = ("npy",)
    accumulators: bool = False
    fetch: tuple[str, ...] | str | None = None
    lanes: int = 1
    first_lane: str = "low"
    element_order: str = "nchw"
    edges: int = 8
    operator_vectors: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", check_kinds(_names(self.kinds)))
        if self.fetch is not None:
            object.__setattr__(self, "fetch", _names(self.fetch))
            if not self.fetch:
                raise OptionError("fetch names no tensor: leave it out for all")
        check_whole_number("lanes", self.lanes, 1)
        check_whole_number("edges", self.edges, 0, MOST_EDGES)
        check_whole_number("seed", self.seed, 0)
        self.line_lanes()
        self.order()

    def line_lanes(self) -> Lanes:
        """Return the words of a line."""
        return Lanes(self.lanes, self.first_lane)

    def order(self) -> Layout:
        """Return the order of elements."""
        return Layout(self.element_order)


def _names(given: tuple[str, ...] | list[str] | str) -> tuple[str, ...]:
    if isinstance(given, str):
        given = tuple(given.split(","))
    return tuple(name.strip() if isinstance(name, str) else str(name) for name in given if name != "")
