"""Random programs: models with control flow, local functions and arithmetic on shapes, and what they are fed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from .blocks import BLOCKS, FIRST, chain, value
from .scope import BOOL, Scope, Shared

OPSETS = (7, 9, 10, 11, 13, 17, 18, 21)
HEAVY = ("branches", "loop", "scan", "called")


@dataclass
class Program:
    """A model and its feeds, of several shapes and with each condition that the feeds decide."""

    seed: int
    trail: list[str]
    model: onnx.ModelProto
    feeds: list[dict[str, np.ndarray]]

    def __str__(self) -> str:
        return f"seed {self.seed}, opset {self.model.opset_import[0].version}: " + " | ".join(self.trail)


def random_program(seed: int) -> Program:
    """Return the program of a seed; one in two has control flow or a function at its end."""
    rng = np.random.default_rng([seed, 99])
    shared = Shared(rng, int(rng.choice(OPSETS)))
    scope = Scope(shared)
    width = scope.whole(2, 6)
    scope.widths["x"] = width
    y = chain(scope, "x", 1, 4)
    if rng.random() < 0.5:
        name = scope.pick(*(name for name in HEAVY if FIRST.get(name, 0) <= shared.opset))
        shared.trail.append(name)
        scope.widths[z := BLOCKS[name](scope, y)] = width
        y = z
    outputs = [y]
    if rng.random() < 0.2:
        outputs.append(scope.pick(*scope.widths, *(one.name for one in scope.initializers if one.data_type == 1)))
    outputs = list(dict.fromkeys(outputs))
    stored = {one.name: list(one.dims) for one in scope.initializers}

    def shape_of(name: str) -> list:
        return stored.get(name, ["n", "l", width])

    axes = scope.pick(["n", "length", width], [2, 5, width], [None, "length", width])
    inputs = [value("x", shape=axes)] + ([value("choice", BOOL, [])] if shared.choices else [])
    graph = scope.graph("program", inputs, [value(name, shape=shape_of(name)) for name in outputs])
    imports = [helper.make_opsetid("", shared.opset), helper.make_opsetid("my", 1)]
    model = helper.make_model(graph, opset_imports=imports, functions=shared.functions, ir_version=10)
    shapes = [(2, 5), (1, 3), (3, 7)] if axes[1] == "length" else [(2, 5)] * 3
    feeds = []
    for n, length in shapes:
        for choice in (True, False) if shared.choices else (None,):
            x = np.round(16 * rng.standard_normal((n, length, width))).astype(np.float32) / np.float32(16)
            feeds.append({"x": x} | ({} if choice is None else {"choice": np.asarray(choice)}))
    return Program(seed, shared.trail, model, feeds)
