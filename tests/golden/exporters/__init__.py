"""What both of torch's exporters write: loops, branches, functions, symbolic sizes, other element types.

The TorchScript exporter takes a network that it traces ("traced") or one that was compiled ("scripted"); the other
takes what torch.export captured ("dynamo").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from .captured import Filter, Gate, Iterate, Symbolic, Tokens, Types, Warp
from .scripted import Choose, Collect, Peaks, Pyramid, Reader, Refine, Search, Shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn


@dataclass(frozen=True)
class Noise:
    """An input of random numbers: normal ones around a mean; tokens below 10; or a mask.

    Attributes
    ----------
    shape : of it.
    mean, scale : of real numbers.
    dtype : torch's.
    """

    shape: tuple[int, ...]
    mean: float = 0.0
    scale: float = 1.0
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Exported:
    """A network to export, how, and what to run it on.

    Attributes
    ----------
    module : makes it.
    how : "traced", "scripted" or "dynamo".
    opset : of the export.
    runs : the inputs of each run by name, `Noise` or a number; the first is exported with.
    outputs : their names.
    free : the axes that may vary, by input.
    options : more for torch.onnx.export.
    external : whether the weights are in a file of their own.
    """

    module: Callable[[], nn.Module]
    how: str
    opset: int
    runs: Sequence[Mapping[str, Any]]
    outputs: tuple[str, ...] = ("y",)
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    external: bool = False


IMAGE = {"x": {0: "N", 2: "H", 3: "W"}}
REPEATED = (
    {"x": Noise((1, 1, 8, 8)), "n": torch.tensor(3)},
    {"x": Noise((2, 1, 9, 7)), "n": torch.tensor(5)},
    {"x": Noise((1, 1, 6, 10)), "n": torch.tensor(0)},
)
SHRUNK = (
    {"x": Noise((1, 3, 8, 9))},  # twice
    {"x": Noise((2, 3, 7, 7), scale=4.0)},
    {"x": Noise((1, 3, 6, 6), scale=0.05)},  # small from the beginning
)
CHOSEN = tuple({"x": Noise((1 + k, 3, 7 + k, 8), mean=mean)} for k, mean in enumerate((1.0, -1.5, 0.0)))
COLLECTED = (
    {"x": Noise((1, 2, 6, 8)), "n": torch.tensor(2)},
    {"x": Noise((2, 2, 8, 4)), "n": torch.tensor(4)},
    {"x": Noise((1, 2, 4, 4)), "n": torch.tensor(0)},
)
SEARCHED = tuple(
    {"x": Noise((1, 2, 6 + k, 7)), "limit": torch.tensor([limit])} for k, limit in enumerate((6.0, 99.0, -9.0))
)
GATED = ({"x": Noise((2, 3, 8, 8), mean=0.5)}, {"x": Noise((3, 3, 6, 9), mean=-0.5)})
ITERATED = (
    {"x": Noise((2, 2, 8, 8)), "n": torch.tensor(3)},
    {"x": Noise((3, 2, 5, 7)), "n": torch.tensor(6)},
    {"x": Noise((2, 2, 6, 6)), "n": torch.tensor(0)},
)
SYMBOLIC = ({"x": Noise((2, 1, 6, 8))}, {"x": Noise((3, 1, 9, 5))})
TOKENS = ({"x": Noise((2, 3, 8, 12))}, {"x": Noise((3, 3, 8, 12))})
TYPES = tuple(
    {
        "ids": Noise((n, length), dtype=torch.int64),
        "mask": Noise((n, length), dtype=torch.bool),
        "half": Noise((n, 4, length), dtype=torch.float16),
        "brain": Noise((n, 4, length), dtype=torch.bfloat16),
        "double": Noise((n, 4, length), mean=4.0, scale=0.5, dtype=torch.float64),
    }
    for n, length in ((2, 5), (3, 7))
)
PEAKS = ({"x": Noise((2, 2, 8, 6))}, {"x": Noise((1, 2, 8, 6))})

EXPORTED = {
    "refine_op11": Exported(Refine, "scripted", 11, REPEATED, free=IMAGE),
    "refine_op20": Exported(Refine, "scripted", 20, REPEATED, free=IMAGE),
    "shrink_op13": Exported(Shrink, "scripted", 13, SHRUNK, ("y", "count", "small"), free=IMAGE),
    "choose_op11": Exported(Choose, "scripted", 11, CHOSEN, ("y", "way"), free=IMAGE),
    "choose_op17": Exported(Choose, "scripted", 17, CHOSEN, ("y", "way"), free=IMAGE),
    "collect_op13": Exported(Collect, "scripted", 13, COLLECTED, ("wide", "small"), free=IMAGE),
    "collect_op20": Exported(Collect, "scripted", 20, COLLECTED, ("wide", "small"), free=IMAGE),
    "search_op17": Exported(Search, "scripted", 17, SEARCHED, ("best", "found"), free={"x": {2: "H", 3: "W"}}),
    "pyramid_op17": Exported(
        Pyramid, "traced", 17, ({"x": Noise((1, 1, 16, 16))}, {"x": Noise((2, 1, 48, 32))}), free=IMAGE
    ),
    "reader_op13": Exported(
        Reader, "traced", 13, ({"x": Noise((1, 1, 8, 16))}, {"x": Noise((2, 1, 8, 22))}), free={"x": {0: "N", 3: "W"}}
    ),
    "reader_functions_op17": Exported(
        Reader, "traced", 17, ({"x": Noise((2, 1, 8, 12))},), options={"export_modules_as_functions": True}
    ),
    "peaks_op17": Exported(Peaks, "traced", 17, PEAKS, ("scores", "places", "map"), free={"x": {0: "N"}}),
    "gate_op18": Exported(Gate, "dynamo", 18, GATED, free=IMAGE),
    "gate_op28": Exported(Gate, "dynamo", 28, GATED, free=IMAGE),
    "iterate_op18": Exported(Iterate, "dynamo", 18, ITERATED, free=IMAGE),
    "filter_op20": Exported(
        Filter,
        "dynamo",
        20,
        ({"x": Noise((4, 2, 1, 6, 5))}, {"x": Noise((7, 2, 1, 6, 5))}),
        ("last", "all"),
        free={"x": {0: "T"}},
    ),
    "symbolic_op18": Exported(Symbolic, "dynamo", 18, SYMBOLIC, free=IMAGE),
    "symbolic_plain_op21": Exported(Symbolic, "dynamo", 21, SYMBOLIC, free=IMAGE, options={"optimize": False}),
    "symbolic_external_op20": Exported(
        Symbolic,
        "dynamo",
        20,
        tuple({"camera.left/0": one["x"]} for one in SYMBOLIC),
        ("out.left/0",),
        free={"camera.left/0": IMAGE["x"]},
        external=True,
    ),
    "tokens_plain_op18": Exported(Tokens, "dynamo", 18, TOKENS, free={"x": {0: "N"}}, options={"optimize": False}),
    "tokens_op24": Exported(Tokens, "dynamo", 24, TOKENS, free={"x": {0: "N"}}),
    "types_op21": Exported(
        Types,
        "dynamo",
        21,
        TYPES,
        ("total", "twice", "grown", "root", "filled"),
        free={name: {0: "N", (2 if name in ("half", "brain", "double") else 1): "L"} for name in TYPES[0]},
    ),
    "warp_op18": Exported(Warp, "dynamo", 18, ({"x": Noise((2, 2, 6, 7))}, {"x": Noise((3, 2, 6, 7))}),
                          free={"x": {0: "N"}}),
}  # fmt: skip
