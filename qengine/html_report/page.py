"""The page: one HTML file with its styles, its script and its numbers in it, which fetches nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.resources import files
from typing import Any

from qengine.analysis.plot_style import DARK, LIGHT, Palette
from qengine.html_report.facts import PictureFacts, Report
from qengine.html_report.markup import Markup, element, shortened
from qengine.html_report.sections import sections
from qengine.html_report.sections.section import Section

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""Policy under which a browser fetches nothing."""


def page(report: Report) -> str:
    """Return the page of a report."""
    parts = sections(report)
    title = f"{shortened(report.model.name, 60)} in fixed point"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style())),
    )
    body = element(
        "body",
        element("a", "Skip to the report", href="#main", class_="skip"),
        _header(report),
        element(
            "div",
            _contents(parts),
            element("main", [_section(one) for one in parts], id="main", tabindex="-1"),
            class_="page",
        ),
        element("script", Markup(embedded(report)), type="application/json", id="qengine-report"),
        element("script", Markup(_resource("script.js"))),
    )
    document = element("html", head, body, lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def style() -> str:
    """Return the styles, with the colours of the palettes."""
    light, dark = _variables(LIGHT), _variables(DARK)
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media (prefers-color-scheme: dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
        f"@media print{{:root:root{{color-scheme:light;{light}}}}}\n"
        f"{_resource('style.css')}"
    )


def _variables(palette: Palette) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in palette.named().items())


def _resource(name: str) -> str:
    return files(__package__ or "qengine.html_report").joinpath(name).read_text(encoding="utf-8")


def _header(report: Report) -> Markup:
    name = element("span", shortened(report.model.name, 60), class_="model-name")
    theme = element("button", "Dark", type="button", id="theme", hidden=True, aria_pressed="false")
    return element("header", element("h1", name, " in fixed point"), theme)


def _contents(parts: list[Section]) -> Markup:
    links = element("ol", [element("li", element("a", one.title, href=f"#{one.anchor}")) for one in parts])
    return element("nav", element("details", element("summary", "Contents"), links, open=True), aria_label="Contents")


def _section(one: Section) -> Markup:
    heading = element("h2", one.title, id=f"{one.anchor}-heading")
    return element("section", heading, list(one.body), id=one.anchor, aria_labelledby=f"{one.anchor}-heading")


def embedded(report: Report) -> str:
    """Return the numbers as JSON that can stand in a script element."""
    text = json.dumps(record(report), indent=None, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def record(value: Any) -> Any:
    """Return facts as values that JSON has: infinity is "inf", NaN is null, and pictures are left out."""
    if isinstance(value, PictureFacts):
        return value.caption
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: record(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): record(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [record(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value > 0 else None
    return value
