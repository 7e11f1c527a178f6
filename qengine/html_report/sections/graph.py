"""The model: its inputs and outputs, and its graph."""

from __future__ import annotations

from itertools import pairwise

from qengine.analysis.plot_style import GRADES_DB
from qengine.html_report.charts.graph import MAX_DRAWN, graph_chart
from qengine.html_report.facts import Report
from qengine.html_report.figures import kibibytes, large
from qengine.html_report.markup import Markup, element, shortened
from qengine.html_report.sections.section import Section, command_block, paragraph


def section(report: Report) -> Section:
    """Return the section."""
    model = report.model
    top = [one for one in model.nodes if not one.within]
    inner, left_out = len(model.nodes) - len(top), max(len(top) - MAX_DRAWN, 0)
    inputs = len([one for one in top if one.kind == "input"])
    work = "" if model.macs is None else f", {large(model.macs)} multiply-accumulates for a sample"
    text = (
        f"{len(top) - inputs:,} nodes{f' and {inner:,} in bodies of control flow' if inner else ''}, "
        f"{large(model.parameters)} parameters ({kibibytes(model.parameter_bytes)} in the file){work}."
    )
    notes = []
    if left_out:
        notes.append(paragraph(f"The drawing has the first {MAX_DRAWN:,} nodes; {left_out:,} more are left out."))
    if inner:
        notes.append(paragraph("Nodes in the bodies of If, Loop and Scan are in the node that holds them."))
    tools = element(
        "div",
        [
            element("button", label, type="button", data_zoom=action, aria_label=name)
            for label, action, name in (
                ("+", "in", "Zoom in"),
                ("−", "out", "Zoom out"),
                ("Whole", "fit", "Show the whole graph"),
            )
        ],
        class_="tools",
        hidden=True,
    )
    keys = element(
        "p",
        "Drag or arrow keys to move; wheel with Ctrl, pinch, or + and − to zoom. A box leads to its tensor.",
        class_="hint",
        id="graph-hint",
    )
    view = element(
        "div",
        graph_chart(top, report.tensors),
        class_="graph",
        tabindex="0",
        role="region",
        aria_label="Graph of the model",
        aria_describedby="graph-hint",
    )
    skip = element("a", "Skip the graph", href="#after-graph", class_="skip")
    return Section(
        "model",
        "The model",
        (
            paragraph(text),
            element(
                "ul",
                [element("li", f"Input {shortened(one, 120)}") for one in model.inputs[:12]],
                [element("li", f"Output {shortened(one, 120)}") for one in model.outputs[:12]],
                class_="plain",
            ),
            _legend(report),
            skip,
            tools,
            view,
            element("span", id="after-graph", tabindex="-1"),
            keys,
            notes,
            command_block(report, "model"),
        ),
    )


def _legend(report: Report) -> Markup | None:
    if not any(one.sqnr_db is not None for one in report.tensors):
        return None
    low = [f"below {GRADES_DB[0]:g} dB", *(f"{a:g} to {b:g}" for a, b in pairwise(GRADES_DB))]
    texts = [*low, f"{GRADES_DB[-1]:g} dB and more"]
    items = [element("li", element("span", class_=f"swatch q{i}"), one) for i, one in enumerate(texts)]
    return element("ul", element("li", "SQNR of what a node computes:"), items, class_="legend")
