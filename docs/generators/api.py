"""Reference of the Python API: every public name, in groups, as mkdocstrings reads its docstring."""

from __future__ import annotations

import qengine
from generators.markdown import Pages, page

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "run": (
        "Run a model",
        ("InferenceSession", "SessionOptions", "backend", "zoo"),
    ),
    "formats": (
        "Formats and codes",
        ("QFormat", "Rounding", "Overflow", "quantize", "dequantize"),
    ),
    "data": (
        "Data",
        ("open_dataset", "Dataset", "Preprocessing"),
    ),
    "quantize": (
        "Choose formats and write models",
        (
            *("calibrate", "calibrate_without_data", "Calibration", "CalibrationOptions"),
            *("correct", "CorrectedModel"),
            *("quantize_model", "QuantizedModel"),
        ),
    ),
    "analyse": (
        "Measure and compare",
        (
            *("evaluate", "Evaluation", "inspect_model", "Inspection", "blame", "Blame"),
            *("sweep", "Grid", "SweepOptions", "Sweep", "search", "SearchOptions", "SearchResult"),
            *("bench", "report", "ReportOptions", "Result"),
        ),
    ),
    "deploy": (
        "Devices",
        (
            *("Target", "export_vectors", "VectorOptions", "Pack", "export_c", "COptions", "CProject"),
            *("compare", "Comparison"),
        ),
    ),
    "extend": (
        "Operators of your own, and errors",
        ("register_operator", "RegisteredOperator", "FixedPoint", "QEngineError"),
    ),
}
"""Title and names of each page."""

FOLDER = "reference/python"


def path_of(name: str) -> str:
    """Return the path of the object that a public name is, as mkdocstrings wants it."""
    value = getattr(qengine, name)
    return f"{value.__module__}.{name}" if hasattr(value, "__qualname__") else value.__name__


def pages() -> Pages:
    """Return a page for each group, and one that lists them."""
    listed = []
    made = {}
    for file, (title, names) in GROUPS.items():
        blocks = (
            f"::: {path_of(name)}\n    options:\n      heading: qengine.{name}\n      toc_label: {name}"
            for name in names
        )
        made[f"{FOLDER}/{file}.md"] = page(title, *blocks)
        links = ", ".join(f"[`{name}`]({file}.md#{path_of(name)})" for name in names)
        listed.append(f"- **[{title}]({file}.md)**: {links}")
    index = page(
        "Python",
        "Every public name is an attribute of `qengine`: `import qengine` is all that a program needs. Each is loaded "
        "when it is first used.",
        "\n".join(listed),
        "[Architecture](../../development/architecture.md) says where everything else is.",
    )
    return {f"{FOLDER}/index.md": index, **made}
