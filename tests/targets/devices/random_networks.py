"""Random networks of one operator each, and chains, within what a device can do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from targets.devices.network import Format, Network


@dataclass(frozen=True)
class Limits:
    """What a device can do.

    Attributes
    ----------
    bits, weight_bits : of activations and of weights.
    kinds : of nodes.
    keeps : whether pools and concatenations keep the format.
    equal_sums : whether operands and result of a sum have one format.
    least_shift, most_shift : of n_x + n_w - n_y.
    functions : formats of the results of functions.
    symmetric : whether the least code of a weight is left out.
    off_grid : whether weights and biases lie between codes, so that their rounding counts.
    per_channel : whether weights may have a format for each output channel.
    pads : "none", "same" for those that keep the size of the picture at a stride of 1, "less" for those that are less
        than the stride, or "any".
    """

    kinds: tuple[str, ...]
    bits: int = 8
    weight_bits: int = 8
    keeps: bool = True
    equal_sums: bool = False
    least_shift: int = 0
    most_shift: int = 12
    functions: dict = field(default_factory=dict)
    symmetric: bool = False
    off_grid: bool = False
    pads: str = "any"
    per_channel: bool = False


def inputs(rng, network):
    """Return codes of inputs: some over the whole word, some small, with both rails among them."""
    found = {}
    for name, shape in network.inputs.items():
        fmt = network.formats[name]
        spread = int(rng.choice([fmt.most + 1, max(fmt.most // 8, 4), 6]))
        codes = rng.integers(-spread, spread, (1, *shape))
        rails = rng.random(codes.shape) < 0.02
        codes = np.where(rails, rng.choice([fmt.least, fmt.most], codes.shape), codes)
        found[name] = np.clip(codes, fmt.least, fmt.most)
    return found


def weights(rng, limits, shape, fmt):
    """Return real weights: codes of a spread that varies, between codes if their rounding counts."""
    spread = int(rng.choice([fmt.most, max(fmt.most // 8, 2), 3]))
    codes = rng.integers(-spread - (not limits.symmetric), spread + 1, shape).astype(np.float64)
    if limits.off_grid:
        codes += rng.integers(-2, 3, shape) / 4
    return codes * 2.0**-fmt.fraction


def linear(rng, limits, network, kind, source, output, channels, bias=True, **how):
    """Append a convolution, a depthwise one or a dense layer, and return the output."""
    fmt, w_fmt = network.formats[source], Format(limits.weight_bits, int(rng.integers(2, limits.weight_bits + 1)))
    shift = int(rng.integers(limits.least_shift, limits.most_shift + 1))
    out = Format(limits.bits, fmt.fraction + w_fmt.fraction - shift)
    filters, depth = channels
    shape = (filters, depth) if kind == "dense" else (filters, depth, *how["kernel"])
    w = weights(rng, limits, shape, w_fmt)
    spread = 2.0 ** min(shift + limits.bits - 2, 30)
    b = np.round(rng.uniform(-spread, spread, filters)) + limits.off_grid * rng.integers(-2, 3, filters) / 4
    b *= 2.0 ** -(fmt.fraction + w_fmt.fraction)
    network.weigh(output, w_fmt)
    if limits.per_channel and rng.integers(3) == 0:
        # Weights that are a power of two smaller have as many fraction bits more, and their shift is longer.
        finer = rng.integers(0, limits.most_shift - shift + 1, filters)
        w = w * 2.0 ** -finer.reshape((-1,) + (1,) * (w.ndim - 1))
        network.weigh(output, [Format(w_fmt.bits, w_fmt.fraction + int(n)) for n in finer])
    return network.add(
        "dense" if kind == "dense" else "conv",
        [source],
        output,
        out,
        weights=np.float32(w),
        bias=np.float32(b) if bias else None,
        **how,
    )


def padding(rng, limits, kernel, stride):
    """Return pads: none, those that keep the size, or others."""
    if limits.pads == "none" or not rng.integers(2) or (limits.pads == "same" and stride != (1, 1)):
        return (0, 0, 0, 0)
    if limits.pads == "less":
        return tuple(min(s - 1, k // 2) for s, k in zip(stride * 2, kernel * 2, strict=True))
    (above, left), (below, right) = ((k - 1) // 2 for k in kernel), (k // 2 for k in kernel)
    return (below, right, above, left) if limits.pads == "any" and rng.integers(2) else (above, left, below, right)


def single(rng, limits, kind):
    """Return a network of one operator."""
    fmt = Format(limits.bits, int(rng.integers(1, limits.bits)))
    size = (int(rng.integers(4, 8)), int(rng.integers(4, 8)))
    if kind in ("conv", "depthwise", "dense"):
        shape = (int(rng.integers(5, 40)),) if kind == "dense" else (int(rng.integers(2, 5)), *size)
        network = Network({"x": shape}, {"x": fmt})
        if kind == "dense":
            linear(rng, limits, network, kind, "x", "y", (int(rng.integers(8, 33)), shape[0]), bool(rng.integers(4)))
            return network
        kernel = tuple(int(k) for k in rng.integers(1, 4, 2))
        stride = (1, 1) if rng.integers(3) else (2, 2)
        pads = padding(rng, limits, kernel, stride)
        filters, depth = (shape[0], 1) if kind == "depthwise" else (int(rng.integers(2, 6)), shape[0])
        group = shape[0] if kind == "depthwise" else 1
        how = {"kernel": kernel, "stride": stride, "pads": pads, "group": group}
        linear(rng, limits, network, kind, "x", "y", (filters, depth), bool(rng.integers(4)), **how)
        return network
    if kind == "matmul":
        other = Format(limits.bits, int(rng.integers(1, limits.bits)))
        network = Network({"a": (5, 8), "b": (8, 6)}, {"a": fmt, "b": other})
        shift = int(rng.integers(limits.least_shift, limits.most_shift + 1))
        network.add(kind, ["a", "b"], "y", Format(limits.bits, fmt.fraction + other.fraction - shift))
        return network
    if kind == "transposed":
        network, w_fmt = Network({"x": (3, 4, 5)}, {"x": fmt}), Format(limits.weight_bits, 5)
        shift = int(rng.integers(limits.least_shift, limits.most_shift + 1))
        w = np.float32(weights(rng, limits, (3, 4, 3, 2), w_fmt))
        network.weigh("y", w_fmt)
        out = Format(limits.bits, fmt.fraction + w_fmt.fraction - shift)
        network.add(kind, ["x"], "y", out, weights=w, kernel=(3, 2), stride=(2, 2))
        return network
    if kind in ("add", "sub", "mul"):
        other = (
            fmt if limits.equal_sums and kind != "mul" else Format(limits.bits, fmt.fraction + int(rng.integers(-3, 4)))
        )
        network = Network({"a": (3, *size), "b": (3, *size)}, {"a": fmt, "b": other})
        exact = fmt.fraction + other.fraction if kind == "mul" else max(fmt.fraction, other.fraction)
        drop = int(rng.integers(0, limits.bits + 3)) if kind == "mul" else int(rng.integers(0, 5))
        out = fmt if limits.equal_sums and kind != "mul" else Format(limits.bits, exact - drop)
        network.add(kind, ["a", "b"], "y", out)
        return network
    network = Network({"x": (3, *size)}, {"x": fmt})
    out = fmt if limits.keeps else Format(limits.bits, fmt.fraction + int(rng.integers(-2, 3)))
    if kind in ("average", "maximum"):
        kernel = tuple(int(k) for k in rng.integers(1, 5, 2))
        stride = (2, 2) if rng.integers(2) else (1, 1)
        out = fmt if kind == "maximum" else out
        network.add(kind, ["x"], "y", out, kernel=kernel, stride=stride, pads=padding(rng, limits, kernel, stride))
    elif kind == "global":
        network.add(kind, ["x"], "y", out)
    elif kind == "concat":
        network.inputs["z"], network.formats["z"] = (2, *size), fmt
        network.add(kind, ["x", "z"], "y", fmt)
    else:
        if kind in limits.functions:
            network.formats["x"] = Format(limits.bits, limits.bits - 1 - int(rng.integers(0, 4)))
            network.add(kind, ["x"], "y", limits.functions[kind])
        else:
            network.add(kind, ["x"], "y", fmt)
    return network


def chain(rng, limits):
    """Return a network from a picture to scores with as many kinds of nodes as the device has."""
    fmt = Format(limits.bits, limits.bits - 2)
    network = Network({"x": (3, 12, 12)}, {"x": fmt})
    how = {"kernel": (3, 3), "pads": (0, 0, 0, 0) if limits.pads == "none" else (1, 1, 1, 1)}
    last = linear(rng, limits, network, "conv", "x", "c1", (4, 3), **how)
    last = network.add("relu", [last], "r1", network.formats[last])
    if "depthwise" in limits.kinds:
        last = linear(rng, limits, network, "depthwise", last, "c2", (4, 1), group=4, **how)
    if "add" in limits.kinds and limits.pads != "none" and network.nodes[-1].output == "c2":
        same = limits.equal_sums
        if same:
            network.formats["c2"] = network.formats["r1"]
        out = network.formats["r1"]
        if not same:
            out = Format(limits.bits, max(out.fraction, network.formats["c2"].fraction) - 1)
        last = network.add("add", ["r1", "c2"], "a1", out)
    for kind, name in (("maximum", "m1"), ("average", "v1")):
        if kind in limits.kinds:
            kernel = (2, 2) if kind == "maximum" else (3, 3)
            stride = (2, 2) if kind == "maximum" else (1, 1)
            last = network.add(kind, [last], name, network.formats[last], kernel=kernel, stride=stride)
    if "concat" in limits.kinds:
        last = network.add("concat", [last, last], "k1", network.formats[last])
    if "global" in limits.kinds:
        last = network.add("global", [last], "g1", network.formats[last])
        channels = 8 if "concat" in limits.kinds else 4
        row = network.add("flatten", [last], "f1", network.formats[last])
        linear(rng, limits, network, "dense", row, "d1", (10, channels))
    return network


def network(rng, limits, kind):
    """Return a chain, or a network of one operator."""
    return chain(rng, limits) if kind == "chain" else single(rng, limits, kind)


def same_pads(limits):
    """Return limits whose pads keep the size of a picture, the only ones besides none that TFLite has."""
    return replace(limits, pads="same")
