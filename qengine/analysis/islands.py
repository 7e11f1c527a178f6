"""Notes on nodes that computed in float32 in a run in fixed point."""

from collections.abc import Iterator, Sequence

_MOST = 6
_OF_QUANTIZERS = ("(QuantizeLinear)", "(DequantizeLinear)", "(DynamicQuantizeLinear)")


def island_notes(islands: Sequence[str]) -> Iterator[str]:
    """Yield a line for each node, or one for all where they are many.

    Parameters
    ----------
    islands
        Nodes in words, such as "node 'name' (Operator)".

    Examples
    --------
    >>> list(island_notes(["node 'a' (GridSample)"]))
    ["computed in float32, without a fixed-point rule: node 'a' (GridSample)"]
    """
    others = [one for one in islands if not one.endswith(_OF_QUANTIZERS)]
    if count := len(islands) - len(others):
        nodes = "1 node" if count == 1 else f"{count} nodes"
        yield (
            f"{nodes} of the model's own quantization (QuantizeLinear, DequantizeLinear) computed in float32: give the "
            "model before quantization"
        )
    begin = "computed in float32, without a fixed-point rule"
    if len(others) > _MOST:
        yield f"{begin}: {len(others)} nodes, such as {', '.join(others[:2])}"
    else:
        yield from (f"{begin}: {one}" for one in others)
