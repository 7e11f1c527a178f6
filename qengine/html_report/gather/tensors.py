"""Facts on tensors in fixed point: formats, and on data the noise and the histogram of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from qengine.analysis.blame import Blame, TensorBlame, blame
from qengine.analysis.evaluation import Evaluation
from qengine.html_report.facts import Bars, BlameFacts, TensorFacts
from qengine.html_report.gather.commands import with_model
from qengine.html_report.gather.subject import Subject
from qengine.model.constant_roles import constant_roles
from qengine.qformat import Format, QFormat
from qengine.quantization.calibration.histogram import Histogram

MAX_HISTOGRAMS = 250
"""Tensors that have a histogram: those that cost most."""

_BINS = 64
_VIEW = 1.5  # range of values in the widths of the format, or the other way round, that a histogram shows
_PRODUCTS, _QUICK_PRODUCTS, _MAX_SAMPLES = 1e12, 1e11, 512


def measured_tensors(subject: Subject) -> tuple[BlameFacts, tuple[TensorFacts, ...], tuple[str, ...]]:
    """Return the noise of all tensors, the facts on each with the one that costs most first, and notes."""
    assert subject.dataset is not None
    assert subject.fixed is not None
    runs = subject.runs_within(
        _QUICK_PRODUCTS if subject.options.quick else _PRODUCTS, 2 * len(subject.fixed.formats) + 4
    )
    batch = subject.dataset.batch
    runs = min(runs, max(_MAX_SAMPLES // batch, 1), -(-len(subject.dataset) // batch))
    part = subject.dataset.regrouped(None, runs * batch)  # which a command with --limit takes too
    counts: list[int] = []

    def feeds() -> Iterator[Mapping[str, Any]]:
        for one in part.batches():
            counts.append(one.count)
            yield one.feeds

    outputs = [name for name in subject.outputs() if name not in subject.fixed.graph.constants]
    with subject.progress("measuring each tensor|runs", runs) as advance, np.errstate(all="ignore"):
        found = blame(subject.fixed, feeds(), outputs=outputs, advance=advance)
    verdict = tuple(with_model(subject, one) for one in found.verdict)
    facts = BlameFacts(sum(counts), found.sqnr_db, found.rounded_db, found.constants_db, found.activations_db, verdict)
    return facts, tuple(_measured(found)), found.notes


def _measured(found: Blame) -> Iterator[TensorFacts]:
    for place, one in enumerate(found.tensors):
        bars = _bars(found.histograms[one.name], one.format) if place < MAX_HISTOGRAMS else None
        yield TensorFacts(
            **_format_facts(one.name, one.kind, one.operator, one.format),
            **{name: getattr(one, name) for name in _FIGURES},
            suggestion=_suggested(one),
            bars=bars,
        )


_FIGURES = (
    *("shares", "elements", "sqnr_db", "own_db", "output_db", "all_but_db", "gain_db", "share", "saturated"),
    *("underflowed", "unused_bits"),
)


def plain_tensors(subject: Subject) -> tuple[TensorFacts, ...]:
    """Return the tensors and their formats, without figures, in the order of a run."""
    assert subject.fixed is not None
    computed = {one.name: one.computed_by for one in subject.inspection.tensors}
    kinds = {"input": "input", "constant": "constant"}
    return tuple(
        TensorFacts(**_format_facts(name, kinds.get(computed.get(name, ""), "activation"), computed.get(name, ""), fmt))
        for name, fmt in subject.fixed.formats.items()
    )


def with_evaluation(tensors: tuple[TensorFacts, ...], evaluation: Evaluation | None) -> tuple[TensorFacts, ...]:
    """Return tensors with the figures that an evaluation has on all samples; constants keep their own."""
    known = {one.name: one for one in evaluation.tensors} if evaluation is not None else {}
    return tuple(
        replace(
            one,
            elements=known[one.name].elements,
            sqnr_db=known[one.name].sqnr_db,
            saturated=known[one.name].saturated,
            underflowed=known[one.name].underflowed,
            unused_bits=known[one.name].unused_bits,
        )
        if one.name in known
        else one
        for one in tensors
    )


def with_roles(subject: Subject, tensors: tuple[TensorFacts, ...]) -> tuple[TensorFacts, ...]:
    """Return tensors of which each constant has its role: its own name may say nothing."""
    roles = constant_roles(subject.fixed.graph) if subject.fixed is not None else {}
    return tuple(replace(one, role=roles.get(one.name, "")) if one.kind == "constant" else one for one in tensors)


def _suggested(one: TensorBlame) -> str | None:
    if one.suggestion is None:
        return None
    fmt = one.suggestion.format
    return f"{fmt} ({one.suggestion.text})" if isinstance(fmt, QFormat) else one.suggestion.text


def _format_facts(name: str, kind: str, operator: str, fmt: Format) -> dict[str, Any]:
    parts = [fmt] if isinstance(fmt, QFormat) else list(fmt.formats)
    return {
        "name": name,
        "kind": kind,
        "operator": operator,
        "format": str(fmt),
        "bits": fmt.bits,
        "low": min(one.min for one in parts),
        "high": max(one.max for one in parts),
        "step": min(one.step for one in parts),
    }


def _bars(histogram: Histogram, fmt: Format) -> Bars | None:
    """Return the bins of a histogram over the values and the range of the format, as far as both can be seen."""
    parts = [fmt] if isinstance(fmt, QFormat) else list(fmt.formats)
    first, last = min(one.min for one in parts), max(one.max for one in parts)
    least, most = histogram.least, histogram.most
    if not (isfinite(least) and isfinite(most)):
        return None
    span = max(most - min(least, 0.0), max(most, 0.0) - least, 1e-30)
    low = min(least, max(first, least - _VIEW * span), 0.0)
    high = max(most, min(last, most + _VIEW * span), 0.0)
    room = 0.02 * (high - low) or max(fmt_step(fmt), 1e-30)
    low, high = low - room, high + room
    cells = histogram.cells()
    places = np.append(cells.sign * (cells.low + cells.width / 2), 0.0)
    weights = np.append(cells.count, histogram.zeros)
    counts, _ = np.histogram(places, _BINS, (low, high), weights=weights)
    beyond = (places < first) | (places > last)
    return Bars(
        float(low),
        float(high),
        tuple(int(n) for n in counts),
        float(least),
        float(most),
        int(weights[beyond].sum()),
        int(weights.sum()),
    )


def fmt_step(fmt: Format) -> float:
    """Return the finest step of a format."""
    return fmt.step if isinstance(fmt, QFormat) else min(one.step for one in fmt.formats)
