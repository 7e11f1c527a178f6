"""Networks for what random ones seldom reach: ties, sums beyond a register, and windows of awkward sizes."""

from __future__ import annotations

import numpy as np
from targets.devices.network import Format, Network


def special_networks(limits):
    """Yield (name, network, codes of inputs)."""
    yield from _ties(limits)
    yield from _at_rails(limits)
    if "global" in limits.kinds:
        yield from _means(limits)


def _ties(limits):
    """Yield dense layers and convolutions of small numbers: a sum of them is a tie as often as not."""
    for shift in range(1, 5):
        rng = np.random.default_rng(shift)
        fmt, w_fmt = Format(limits.bits, 4), Format(limits.weight_bits, 3)
        out = Format(limits.bits, 7 - shift)
        x = rng.integers(-3, 4, (1, 6, 5, 5))
        for kind in ("dense", "conv", "depthwise"):
            if kind not in limits.kinds:
                continue
            shape = {"dense": (48, 150), "conv": (6, 6, 3, 3), "depthwise": (6, 1, 3, 3)}[kind]
            network = Network({"x": (150,) if kind == "dense" else (6, 5, 5)}, {"x": fmt})
            network.weigh("y", w_fmt)
            how = {"weights": np.float32(rng.integers(-2, 3, shape) / 8)}
            if kind != "dense":
                how |= {"kernel": (3, 3), "group": 6 if kind == "depthwise" else 1}
            network.add("dense" if kind == "dense" else "conv", ["x"], "y", out, **how)
            yield f"ties/{shift} {kind}", network, {"x": x.reshape(1, -1) if kind == "dense" else x}


def _at_rails(limits):
    """Yield networks whose sums leave 20 and 32 bits, some only on the way.

    Runs of products of one sign come first, and others take the sum back. Shifts are long, so that half a step counts.
    """
    word, w_word = Format(limits.bits, 0), Format(limits.weight_bits, 0)
    for seed, (ups, downs) in enumerate([(2, 0), (3, 1), (40, 0), (40, 30), (30, 40), (60, 61), (0, 50), (33, 3)]):
        rng = np.random.default_rng(seed)
        signs = np.array([1] * ups + [-1] * downs)
        shift = min(limits.most_shift, limits.bits + limits.weight_bits - 10 + seed % 4)
        filters = rng.integers(w_word.most - 2, w_word.most + 1, (16, len(signs)))
        bias = np.float32(rng.integers(-9, 9, 16) * 64)
        network = Network({"x": (len(signs),)}, {"x": word})
        network.weigh("y", w_word)
        network.add("dense", ["x"], "y", Format(limits.bits, -shift), weights=np.float32(filters), bias=bias)
        yield f"rails/{seed}", network, {"x": (signs * word.most)[None]}
    rng = np.random.default_rng(8)
    filters = rng.integers(w_word.most - 2, w_word.most + 1, (4, 8, 3, 3))
    filters[:, 4:] *= -1  # by channels the sum goes up and comes back; by pixels it stays small
    network = Network({"x": (8, 6, 6)}, {"x": word})
    network.weigh("y", w_word)
    out = Format(limits.bits, -min(limits.most_shift, limits.bits + limits.weight_bits - 10))
    network.add("conv", ["x"], "y", out, weights=np.float32(filters), kernel=(3, 3))
    yield "rails/order", network, {"x": rng.integers(word.most - 2, word.most + 1, (1, 8, 6, 6))}


def _means(limits):
    """Yield means over as many elements as have no exact reciprocal in float32."""
    for size in ((4, 7), (5, 6), (2, 7)):
        rng = np.random.default_rng(size)
        fmt = Format(limits.bits, 5)
        network = Network({"x": (192, *size)}, {"x": fmt})
        network.add("global", ["x"], "y", fmt)
        yield f"means/{size[0]}x{size[1]}", network, {"x": rng.integers(-30, 31, (1, 192, *size))}
