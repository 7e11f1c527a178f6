"""Charts of accuracy: a metric over the word length, and over the memory of the weights with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from qengine.html_report.charts.axes import Frame, Scale, drawing, path_of, place, round_ticks, tick_text
from qengine.html_report.facts import AccuracyFacts, MetricFacts, RunFacts
from qengine.html_report.figures import kibibytes, metric_text
from qengine.html_report.gather.accuracy import COST
from qengine.html_report.markup import Markup, element

_WIDTH, _HEIGHT = 460.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 18.0, 26.0, 46.0
_MIN_SPAN = 2.0  # least height of an axis of per cent

Marks = Sequence[tuple[float, float, RunFacts]]


def accuracy_chart(facts: AccuracyFacts) -> Markup | None:
    """Return the metric over the word length, with the level of float32 and the formats of the report."""
    metric = facts.metric
    points = [(float(run.bits), y, run) for run in facts.curve if run.bits and (y := shown(metric, run)) is not None]
    if len(points) < 2:
        return None
    own, exact = _own(facts), shown(metric, facts.float32)
    mine = [] if own is None or not own[0].bits else [(float(own[0].bits), own[1], own[0])]
    levels = [y for _, y, _ in [*points, *mine]] + ([] if exact is None else [exact])
    xs = [x for x, _, _ in [*points, *mine]]
    x = Scale(min(xs) - 0.5, max(xs) + 0.5, _LEFT, _WIDTH - _RIGHT)
    frame = Frame(
        x,
        _level_scale(metric, levels),
        "word length in bits",
        axis_label(metric),
        [(width, str(int(width))) for width in sorted(set(xs))],
        _level_ticks(metric, levels),
    )
    parts = [*frame.drawn(), *_float32_line(frame, exact)]
    parts.append(element("path", class_="line s0", d=path_of([(x(a), frame.y(b)) for a, b, _ in points])))
    parts += [_mark(frame, one, "dot s0", metric) for one in points]
    parts += [_mark(frame, one, "dot own s1", metric) for one in mine]
    ends = f"{metric_text(metric, points[0][2].figures.get(metric.column))} at {points[0][2].label}"
    last = f"{metric_text(metric, points[-1][2].figures.get(metric.column))} at {points[-1][2].label}"
    return drawing(_WIDTH, _HEIGHT, f"{metric.label} over the word length: {ends}, {last}", *parts, class_="chart")


def pareto_chart(facts: AccuracyFacts) -> Markup | None:
    """Return the metric over the memory of the weights, with the runs that no other run beats as a line."""
    metric = facts.metric
    points = _priced(facts.curve, lambda run: shown(metric, run))
    if len(points) < 2:
        return None
    others = _priced([*facts.targets, *([facts.fixed] if facts.fixed else [])], lambda run: shown(metric, run))
    exact = shown(metric, facts.float32)
    levels = [y for _, y, _ in [*points, *others]] + ([] if exact is None else [exact])
    costs = [x for x, _, _ in [*points, *others]]
    x = Scale(0.0, max(costs) * 1.05, _LEFT, _WIDTH - _RIGHT)
    ticks = [(tick * 1024.0, tick_text(tick)) for tick in round_ticks(0.0, x.high / 1024.0)]
    frame = Frame(
        x,
        _level_scale(metric, levels),
        "memory of weights in KiB",
        axis_label(metric),
        ticks,
        _level_ticks(metric, levels),
    )
    front = [points_of for i in facts.front for points_of in points if points_of[2] is facts.curve[i]]
    parts = [*frame.drawn(), *_float32_line(frame, exact)]
    if len(front) > 1:
        corners = [(x(front[0][0]), frame.y(front[0][1]))]
        for cost, level, _ in front[1:]:
            corners += [(x(cost), corners[-1][1]), (x(cost), frame.y(level))]
        parts.append(element("path", class_="line s0", d=path_of(corners)))
    on_front = {id(run) for _, _, run in front}
    parts += [_mark(frame, one, "dot s0" if id(one[2]) in on_front else "dot hollow s4", metric) for one in points]
    parts += [_mark(frame, one, "dot own s1" if one[2] is facts.fixed else "dot s2", metric) for one in others]
    for cost, level, run in front:
        parts.append(element("text", str(run.bits), class_="tick", x=place(x(cost) + 7), y=place(frame.y(level) + 14)))
    text = f"{metric.label} over the memory of weights; on the Pareto front: {', '.join(r.label for _, _, r in front)}"
    return drawing(_WIDTH, _HEIGHT, text, *parts, class_="chart")


def shown(metric: MetricFacts, run: RunFacts) -> float | None:
    """Return the number that a chart shows for a run: per cent of a share; None for no finite one."""
    value = run.figures.get(metric.column)
    if value is None or not math.isfinite(value):
        return None
    return 100.0 * value if metric.unit == "share" else value


def axis_label(metric: MetricFacts) -> str:
    """Return the label of the axis of a metric."""
    unit = {"share": " in %", "dB": " in dB"}.get(metric.unit, "")
    return f"{metric.label}{unit}"


def _own(facts: AccuracyFacts) -> tuple[RunFacts, float] | None:
    value = None if facts.fixed is None else shown(facts.metric, facts.fixed)
    return None if facts.fixed is None or value is None else (facts.fixed, value)


def _priced(runs: Sequence[RunFacts], level: Callable[[RunFacts], float | None]) -> Marks:
    found = ((run.costs.get(COST), level(run), run) for run in runs)
    return [(cost, value, run) for cost, value, run in found if cost is not None and value is not None]


def _ends(metric: MetricFacts, levels: Sequence[float]) -> tuple[float, float]:
    low, high = min(levels), max(levels)
    room = max(0.08 * (high - low), (_MIN_SPAN - (high - low)) / 2 if metric.unit == "share" else 0.0, 1e-9)
    return low - room, high + room


def _level_scale(metric: MetricFacts, levels: Sequence[float]) -> Scale:
    low, high = _ends(metric, levels)
    return Scale(low, high, _HEIGHT - _BOTTOM, _TOP)


def _level_ticks(metric: MetricFacts, levels: Sequence[float]) -> list[tuple[float, str]]:
    low, high = _ends(metric, levels)
    most = 100.0 if metric.unit == "share" else math.inf
    return [(tick, tick_text(tick)) for tick in round_ticks(low, high) if tick <= most]


def _float32_line(frame: Frame, level: float | None) -> list[Markup]:
    if level is None:
        return []
    y = place(frame.y(level))
    return [
        element("line", class_="exact", x1=place(frame.x.start), x2=place(frame.x.end), y1=y, y2=y),
        element("text", "float32", class_="tick", x=place(frame.x.start + 4), y=y, dy="-0.4em"),
    ]


def _mark(frame: Frame, point: tuple[float, float, RunFacts], kind: str, metric: MetricFacts) -> Markup:
    x, y, run = point
    text = f"{run.label}: {metric_text(metric, run.figures.get(metric.column))}, {kibibytes(run.costs.get(COST))}"
    size = 6 if "own" in kind else 4
    return element("circle", element("title", text), class_=kind, cx=place(frame.x(x)), cy=place(frame.y(y)), r=size)
