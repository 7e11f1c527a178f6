"""Sessions of one operator or a few, and feeds, for the tests of lowerings that work element by element."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from deploy.c.running import Case
from networks import network, weights

from qengine import InferenceSession

ROUNDINGS = (
    "half_even",
    "half_up",
    "half_away",
    "floor",
    "trunc",
    "ceil",
    "away",
    "half_down",
    "half_zero",
    "tflite",
    "ruy",
)
OVERFLOWS = ("saturate", "wrap", "symmetric", "zero")
IMAGES = ("Conv", "x kernel", "z")
"""A convolution, whose result has its channels last; the weights come from `image_weights`."""


def image_weights(channels: int, inputs: int, axes: int = 2) -> dict[str, Any]:
    """Return weights of the convolution `IMAGES`."""
    return {"kernel": weights(channels, inputs, *(1,) * axes, seed=channels, scale=0.4)}


def feeds(inputs: Mapping[str, Any], seed: int, scale: float = 3.0) -> dict[str, Any]:
    """Return random elements of inputs that are given as `network` takes them."""
    draws = np.random.default_rng(seed)
    found = {}
    for name, spec in inputs.items():
        dtype, shape = spec if isinstance(spec, tuple) else (np.float32, spec)
        real = draws.normal(0, scale, shape)
        found[name] = real > 0 if np.dtype(dtype) == bool else np.asarray(real).astype(dtype)
    return found


def case(
    nodes: Sequence[tuple[Any, ...]],
    inputs: Mapping[str, Any],
    constants: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    *,
    number: int = 0,
    opset: int = 18,
    **options: Any,
) -> Case:
    """Return a session and the feeds of two runs; `number` chooses rounding and overflow unless options do."""
    model = network(nodes, inputs=inputs, constants=constants, outputs=outputs, opset=opset)
    modes = {"rounding": ROUNDINGS[number % len(ROUNDINGS)], "overflow": OVERFLOWS[number // 3 % len(OVERFLOWS)]}
    if not {"formats", "qformat"} & options.keys():
        options["qformat"] = ("Q3.4", "Q3.12", "Q2.3")[number % 3]
    session = InferenceSession(model, isa="reference", **(modes | options))
    return session, [feeds(inputs, 2 * number), feeds(inputs, 2 * number + 1, 20.0)]


def mixed_formats(names: Sequence[str], number: int) -> dict[str, str]:
    """Return a format of another length and with other fraction bits for each tensor."""
    draws = np.random.default_rng(number)
    found = {}
    for name in names:
        bits = int(draws.choice([6, 8, 8, 12, 16]))
        whole = int(draws.integers(0, 4))
        unsigned = draws.random() < 0.2
        found[name] = f"{'U' * unsigned}Q{whole}.{bits - whole - (not unsigned)}"
    return found
