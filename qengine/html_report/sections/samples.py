"""The data: how pictures become numbers, what is fed, and the samples that fixed point changes most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qengine.html_report.facts import Report, SampleFacts, WorstFacts
from qengine.html_report.figures import decibels, number
from qengine.html_report.markup import Markup, element, name_of, shortened
from qengine.html_report.sections.section import Cell, Row, Section, paragraph, reason, table

_PICTURE = 96


def data_section(report: Report) -> Section:
    """Return the section on the data and its preprocessing."""
    facts, title = report.data, "Data and preprocessing"
    if facts is None:
        return Section("data", title, (reason(report, "data"),))
    labels = "with labels" if facts.has_labels else "without labels"
    read = f" Ranges are of the first {facts.read:,}." if facts.read < facts.samples else ""
    rows = (
        Row(
            (
                name_of(one.name),
                one.shape,
                one.dtype,
                Cell(number(one.least), one.least),
                Cell(number(one.most), one.most),
            )
        )
        for one in facts.inputs
    )
    return Section(
        "data",
        title,
        (
            paragraph(f"{facts.samples:,} samples of {shortened(facts.name, 80)}, {labels}.{read}"),
            paragraph(element("strong", "Preprocessing: "), facts.preprocessing),
            table("What is fed", ("Input", "Shape of a run", "Type", "Least", "Most"), rows, numbers=(3, 4)),
        ),
    )


def worst_section(report: Report) -> Section:
    """Return the section on the samples that fixed point changes most."""
    facts, title = report.worst, "Worst samples"
    if facts is None or not facts.samples:
        return Section("worst", title, (reason(report, "worst"),))
    return Section(
        "worst",
        title,
        (
            paragraph(_sentence(facts)),
            element("ol", [_sample(one, facts.classes) for one in facts.samples], class_="samples"),
        ),
    )


def _sentence(facts: WorstFacts) -> str:
    if facts.flipped is None:
        return f"The samples whose output differs most from float32, of {facts.looked_at:,}."
    begin = f"Fixed point changes the class of {facts.flipped:,} of {facts.looked_at:,} samples"
    if facts.broken is None or facts.mended is None:
        return f"{begin}. They come first, then the samples whose output differs most."
    both = f"{facts.broken:,} from right to wrong, {facts.mended:,} from wrong to right"
    return f"{begin}: {both}. They come first, then the samples whose output differs most."


def _sample(one: SampleFacts, classes: Sequence[str]) -> Markup:
    return element(
        "li",
        [_picture(picture.caption, picture.png, picture.width, picture.height) for picture in one.pictures],
        element("div", list(_lines(one, classes)), class_="words"),
    )


def _lines(one: SampleFacts, classes: Sequence[str]) -> Iterator[Markup]:
    yield element("strong", f"Sample {one.index:,}")
    if one.name is not None:
        yield element("span", shortened(one.name, 60))
    if one.float32_class is not None:
        words = f"float32 says {_name(one.float32_class, classes)}, fixed point {_name(one.fixed_class, classes)}"
        yield element("span", words, class_="bad" if one.float32_class != one.fixed_class else None)
        if one.label is not None:
            yield element("span", f"label {_name(one.label, classes)}")
    yield element("span", f"SQNR {decibels(one.sqnr_db)}")


def _name(number: int | None, classes: Sequence[str]) -> str:
    """Return the name of a class, or its number."""
    return shortened(classes[number], 30) if number is not None and 0 <= number < len(classes) else str(number)


def _picture(caption: str, png: str, width: int, height: int) -> Markup:
    scale = _PICTURE / max(width, height, 1)
    size = {"width": max(round(width * scale), 1), "height": max(round(height * scale), 1)}
    image = element("img", src=f"data:image/png;base64,{png}", alt=shortened(caption, 60), **size)
    return element("figure", image, element("figcaption", shortened(caption, 40)))
