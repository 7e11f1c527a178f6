"""What a rounding or an overflow costs: the time of a layer under each, over that under the defaults, in turns.

    python benchmarks/rounding_times.py [--turns N] [--formats Q3.4,Q3.12] [--layers NAME,...] [--isa ISA]

The layers are those of ResNet-50, among them the one with the least work for each output. CPU time of one thread; the
default is measured twice, so that the second ratio shows the noise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from qengine import InferenceSession, Overflow, Rounding
from qengine.model.rules import Modes, Rules

LAYERS = {
    "3x3 64-64 56x56": (64, 64, 3, 56),
    "1x1 64-256 56x56": (64, 256, 1, 56),
    "1x1 256-64 56x56": (256, 64, 1, 56),
    "3x3 256-256 14x14": (256, 256, 3, 14),
    "1x1 2048-512 7x7": (2048, 512, 1, 7),
}
"""Channels of the input and of the output, size of the kernel, and size of the image."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=100, help="runs of each mode of a layer")
    parser.add_argument("--formats", default="Q3.4,Q3.12")
    parser.add_argument("--layers", default=",".join(LAYERS))
    parser.add_argument("--isa", help="instruction set instead of the best one")
    given = parser.parse_args()
    modes = {"default": Modes()}
    modes |= {str(rounding): Modes(rounding=rounding) for rounding in Rounding}
    modes |= {str(overflow): Modes(overflow=overflow) for overflow in Overflow if overflow != Overflow.SATURATE}
    for layer in given.layers.split(","):
        for form in given.formats.split(","):
            runs = {name: run_of(layer, form, given.isa, mode) for name, mode in modes.items()}
            best = dict.fromkeys(runs, float("inf"))
            for _ in range(given.turns):
                for mode, run in runs.items():
                    start = time.thread_time()
                    run()
                    best[mode] = min(best[mode], time.thread_time() - start)
            default = min(best["default"], best["half_even"])
            print(f"{layer:18} {form:6} {1e3 * default:8.3f} ms", flush=True)
            print("".join(f"    {mode:12} {found / default:6.3f}\n" for mode, found in best.items()), flush=True)


def run_of(layer: str, form: str, isa: str | None, mode: Modes) -> Callable[[], object]:
    """Return a run of a layer in a format, under a rounding or an overflow."""
    channels, filters, kernel, size = LAYERS[layer]
    rng = np.random.default_rng(0)
    w = rng.normal(0, 0.05, (filters, channels, kernel, kernel)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[kernel // 2] * 4)
    shape = [1, channels, size, size]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", None))]
    graph = helper.make_graph([node], "layer", values[:1], values[1:], [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    # The input is rounded by the defaults, and codes come out, so that little but the layer is measured.
    rules = Rules(kinds={"linear": mode})
    session = InferenceSession(model.SerializeToString(), qformat=form, isa=isa, threads=1, rules=rules)
    feeds = {"x": rng.normal(0, 1, shape).astype(np.float32)}
    return lambda: session.run(None, feeds, raw=True)


if __name__ == "__main__":
    main()
