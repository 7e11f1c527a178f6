"""Facts about operators that the rest of qengine reads, such as the sign of the outputs or the layout of the weights.

A fact is declared once, with the handler: `@operator("Sigmoid", sign=Sign.NOT_NEGATIVE)`. Passes, calibration,
corrections and inspection get it from `find(node)` and hold no list of operator names of their own. An operator that
declares nothing, as one that a user registers, answers that nothing is known of it, and other code then makes no
assumptions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from qengine.model.graph import Dim, Node
from qengine.model.ops.filters import Channels, Filters

Constants = Mapping[str, NDArray[Any]]


class Sign(Enum):
    """Sign of the real numbers that an operator gives."""

    NOT_NEGATIVE = "never negative, for any inputs"
    KEPT = "not negative where no data input is negative"


class NumberKind(Enum):
    """Kind of a single number that an operator applies to a tensor; in fixed point a code of that tensor's format."""

    BOUND = "a limit, which may lie beyond the format"
    FILL = "the value of new elements"


SignRule = Callable[[Node, Constants], Sign | None]
ChannelRule = Callable[[Node, Channels, tuple[Dim, ...] | None, Constants], Channels | None]


@dataclass(frozen=True)
class Facts:
    """Everything that an operator declares in addition to its signature.

    Attributes
    ----------
    preserves_format : whether the outputs have the format of the first input.
    sign : sign of the outputs; None where nothing is known.
    channels : rule for an operator that is positively homogeneous and keeps channels apart: the place of the channels
        in its output, from the node, their place in the first input, the shape of that input and the constants.
    filters : layout of the weights of a linear operator.
    numbers : kind of each input or attribute that is a number in the format of the first input, by name.
    padding_value : value of the cells that the attribute `pads` puts around images.
    keeps_mean : whether each channel of the output has the expected value of that channel of the input, where all its
        elements have one distribution.
    """

    preserves_format: bool | Callable[[Node], bool] = False
    sign: Sign | SignRule | None = None
    channels: ChannelRule | None = None
    filters: Filters | None = None
    numbers: Mapping[str, NumberKind] = field(default_factory=lambda: MappingProxyType({}))
    padding_value: float | None = None
    keeps_mean: bool | Callable[[Node], bool] = False


NO_FACTS = Facts()


def channels_stay(_node: Node, channels: Channels, _shape: tuple[Dim, ...] | None, _known: Constants) -> Channels:
    """Return the place of channels after an operator that acts on every element by itself."""
    return channels


def channels_of_images_stay(
    _node: Node, channels: Channels, _shape: tuple[Dim, ...] | None, _known: Constants
) -> Channels | None:
    """Return the place of channels after an operator that acts on every channel of an image by itself."""
    return channels if channels is Channels.IMAGE else None
