"""Reference of the bundled targets, from their files."""

from __future__ import annotations

from generators.markdown import Pages, code, escaped, page, table
from qengine.targets import Target, names

HEADINGS = ("target", "Conv", "depthwise", "dense", "Add", "Mul", "means", "overflow", "sums", "bias")


def summary(target: Target) -> list[str]:
    """Return the roundings, the overflow, the register and the bias of a target, in the order of `HEADINGS`."""
    rules = target.rules

    def rounding(kind: str, operator: str) -> str:
        return str(rules.modes(kind, "", operator).rounding)

    linear = [rounding(*one) for one in (("linear", "Conv"), ("depthwise", "Conv"), ("dense", "Gemm"))]
    mean = rounding("mean", "AveragePool") + f", {rules.mean.method}" * (rules.mean.method != "exact")
    add = rounding("add", "Add") + ", aligned" * rules.aligns_add
    register, bias = rules.accumulator, rules.bias
    sums = "all" if register.bits is None else f"{register.bits}, {register.overflow}s"
    word = [f"{bias.bits}"]
    word += [f"{bias.fraction_bits}"] * (bias.fraction_bits != "sums") + [f"shift {bias.shift}"] * (bias.shift > 0)
    name = f"[{code(target.name)}](#{target.name})"
    return [name, *linear, add, rounding("mul", "Mul"), mean, str(rules.overflow), sums, ", ".join(word)]


def pages() -> Pages:
    """Return the page of targets."""
    targets = [Target.named(name) for name in names()]
    parts = [
        "The devices that come with qengine. [Which bits does my device compute?](../how-to/targets.md) explains them.",
        table(
            ("target", "status", "device"),
            ((f"[{code(t.name)}](#{t.name})", t.status, escaped(t.description)) for t in targets),
        ),
        "## What each computes",
        "Roundings of convolutions, depthwise ones, dense layers, sums, products and means; what becomes of a result "
        "beyond its word; bits of the register of sums; bits of the word of a bias.",
        table(HEADINGS, map(summary, targets)),
    ]
    for target in targets:
        parts += [f"## {target.name}", escaped(f"{target.description}. {target.status.capitalize()}.")]
        parts += [f"Compared: {escaped(target.checked)}"] * bool(target.checked)
        parts += ["\n".join(f"- {escaped(note)}" for note in target.notes)] * bool(target.notes)
        parts += ["Sources: " + escaped("; ".join(target.sources))] * bool(target.sources)
    return {"reference/targets.md": page("Bundled targets", *parts)}
