"""torch: the operators of convolutional networks as functions of torch, in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch  # noqa: TID251 - a runtime to compare with
from torch.nn import functional  # noqa: TID251

from qengine.analysis.bench.rivals import RivalSetup, Unavailable
from qengine.model.graph import Node
from qengine.model.loader import load


def prepare(setup: RivalSetup) -> Callable[[], object]:
    """Return a function that runs the model."""
    if setup.bits is not None:
        raise Unavailable("torch runs the model in float32 only")
    graph = load(setup.path)
    constants = {name: torch.from_numpy(np.array(array)) for name, array in graph.constants.items()}
    steps = [(_function(node), node.inputs, node.outputs[0]) for node in graph.nodes]
    feeds = {name: torch.from_numpy(np.array(array)) for name, array in setup.feeds.items()}

    def run() -> list[Any]:
        before = torch.get_num_threads()
        torch.set_num_threads(setup.threads)
        try:
            with torch.inference_mode():
                values = {**constants, **feeds}
                for function, inputs, output in steps:
                    values[output] = function(*[values[name] for name in inputs if name])
                return [values[value.name].numpy() for value in graph.outputs]
        finally:
            torch.set_num_threads(before)

    run()
    return run


def _function(node: Node) -> Callable[..., Any]:
    """Return the function of torch that computes a node."""
    a: Mapping[str, Any] = node.attributes
    simple: dict[str, Callable[..., Any]] = {
        "Relu": functional.relu,
        "Add": torch.add,
        "Mul": torch.mul,
        "Sigmoid": torch.sigmoid,
        "Identity": lambda x: x,
        "Clip": lambda x, low=None, high=None: torch.clamp(x, low, high),
        "GlobalAveragePool": lambda x: x.mean(dim=(2, 3), keepdim=True),
        "Flatten": lambda x: torch.flatten(x, a.get("axis", 1)),
        "MatMul": torch.matmul,
    }
    if node.operator in simple:
        return simple[node.operator]
    pads = tuple(a.get("pads", (0, 0, 0, 0)))
    around = (pads[1], pads[3], pads[0], pads[2]) if len(pads) == 4 else ()
    if node.operator == "Conv" and around:
        even = pads[:2] == pads[2:]
        options = {
            "stride": tuple(a.get("strides", (1, 1))),
            "dilation": tuple(a.get("dilations", (1, 1))),
            "groups": a.get("group", 1),
            "padding": pads[:2] if even else 0,
        }
        return lambda x, w, b=None: functional.conv2d(x if even else functional.pad(x, around), w, b, **options)
    if node.operator == "MaxPool" and around and pads[:2] == pads[2:]:
        return lambda x: functional.max_pool2d(x, tuple(a["kernel_shape"]), tuple(a.get("strides", (1, 1))), pads[:2])
    if node.operator == "Gemm" and a.get("transB") and not a.get("transA"):
        return lambda x, w, b=None: functional.linear(x, w, b)
    if node.operator == "Resize" and a.get("mode") == "cubic" and len(node.inputs) == 3:
        return lambda x, *scales: functional.interpolate(
            x, scale_factor=tuple(scales[-1][2:].tolist()), mode="bicubic", align_corners=False
        )
    raise Unavailable(f"{node.operator} is not an operator that this comparison runs in torch")
