"""The model as a drawing: a box for each node, its colour the SQNR of what it computes, each a link to the tensor."""

from __future__ import annotations

from collections.abc import Sequence

from qengine.analysis.plot_style import grade_of
from qengine.html_report.charts.axes import drawing, place
from qengine.html_report.facts import NodeFacts, TensorFacts
from qengine.html_report.figures import decibels
from qengine.html_report.graph_layout import BOX_HEIGHT, BOX_WIDTH, Layout, layout
from qengine.html_report.markup import Markup, element, shortened

MAX_DRAWN = 1500
"""Nodes of a drawing; what comes after them in a run is left out."""

_LETTERS, _NAME_LETTERS, _SHAPE_LETTERS = 22, 25, 15


def graph_chart(nodes: Sequence[NodeFacts], tensors: Sequence[TensorFacts]) -> Markup:
    """Return the graph of the first nodes of a model."""
    drawn = list(nodes[:MAX_DRAWN])
    placed = layout([one.sources for one in drawn])
    edges = "".join(_curve(points) for points in placed.edges)
    boxes = [_box(one, placed, i, tensors) for i, one in enumerate(drawn)]
    label = f"Graph of the model: {len(drawn)} inputs and nodes. Each links to the row of its tensor."
    return drawing(
        placed.width,
        placed.height,
        label,
        element("path", class_="edges", d=edges) if edges else None,
        boxes,
        id="graph",
        width=place(placed.width),
        height=place(placed.height),
        role="group",
    )


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """Return an edge as a path that leaves and enters boxes vertically."""
    x, y = points[0]
    parts = [f"M{place(x)} {place(y)}"]
    for end, bottom in points[1:]:
        if end == x:
            parts.append(f"V{place(bottom)}")
        else:
            middle = place((y + bottom) / 2)
            parts.append(f"C{place(x)} {middle} {place(end)} {middle} {place(end)} {place(bottom)}")
        x, y = end, bottom
    return "".join(parts)


def _box(node: NodeFacts, placed: Layout, i: int, tensors: Sequence[TensorFacts]) -> Markup:
    left, top = placed.boxes[i]
    tensor = None if node.tensor is None else tensors[node.tensor]
    has_figure = tensor is not None and tensor.sqnr_db is not None
    grade = f"q{grade_of(tensor.sqnr_db)}" if tensor is not None and tensor.sqnr_db is not None else "q"
    kind = "island" if node.kind in ("island", "delegated") else "unsupported" if node.kind == "unsupported" else ""
    figure = decibels(tensor.sqnr_db) if tensor is not None and has_figure else _no_figure(node)
    title = f"{node.operator} {shortened(node.name, 120)}{f', {node.shape}' if node.shape else ''}: {figure}"
    if tensor is not None:
        title += f", {tensor.format}"
    box = element(
        "g",
        element("title", title),
        element("rect", width=place(BOX_WIDTH), height=place(BOX_HEIGHT), rx="6"),
        element("text", shortened(node.operator, _LETTERS), class_="operator", x="8", y="18"),
        element("text", shortened(node.name, _NAME_LETTERS), class_="small name", x="8", y="35"),
        element("text", shortened(node.shape, _SHAPE_LETTERS), class_="small", x="8", y="51"),
        element("text", figure, class_="small", x=place(BOX_WIDTH - 8), y="51", text_anchor="end"),
        class_=f"node {grade} {kind}".strip(),
        transform=f"translate({place(left)} {place(top)})",
    )
    if node.tensor is None:
        return box
    return element("a", box, href=f"#t{node.tensor}", aria_label=title)


def _no_figure(node: NodeFacts) -> str:
    return {"island": "float32", "delegated": "float32", "shape": "shape", "unused": "unused"}.get(node.kind, "")
