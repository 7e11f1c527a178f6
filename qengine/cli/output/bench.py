"""Output of `qengine bench`: tables, or one JSON object.

With a model, the object has these keys:

=================  =================================================================================================
model              the model as typed
isa, threads       instruction set of the kernels, and number of threads
word_length        longest word length of the activations; null in float32
cpu                {name, cores}: name of the processor in LLVM, and number of cores this process may use
peak_gmacs         peak GMAC/s of one core on registers, by type of the factors: s8, s16, f32
machine            {cpu, cores, load, running, clock, highest_clock, governor} before the measurement; MHz
warnings           what makes the figures less than sure, such as a busy machine
run                {best_ms, median_ms} of whole runs
one_thread         the same on one thread
overhead_ms        what one_thread.best_ms has beyond the sum of the kernels
gmacs              GMAC/s of the best run
macs               number of multiply-accumulates of the model
memory_bytes       size of all tensors between steps
kernels            [{tensor, operator, kernel, note, ms, gmacs, percent_of_peak, kind}], each alone on one thread
preprocessing      how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
notes              lines of text
rivals             {name: {best_ms, median_ms, times_ours}, or the reason why it did not run}
=================  =================================================================================================

Without a model it is {"cpu": ..., "layers": [{layer, word, kernel, note, ms, gmacs, percent_of_peak}]}.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import llvmlite.binding as llvm

from qengine.analysis.bench import Report, Row, Timing
from qengine.cli.output.console import rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.tables import Table
from qengine.data.applied import Applied
from qengine.results import json_text
from qengine.threads import available_threads

Measured = Sequence[tuple[str, str, Row, Mapping[str, float]]]


def report_table(model: str, pixels: Applied, report: Report, bits: int | None) -> str:
    """Return the measurements of a model as a table."""
    word = "float32" if bits is None else f"up to {bits} bits"
    title = f"{model}, {word}, {report.isa}, {_threads(report.threads)}"
    table = Table()
    table.names("tensor")
    table.words("operator", importance=3)
    table.words("kernel", importance=2)
    _add_figures(table)
    for row in report.rows:
        table.row(row.tensor, row.operator, row.kernel, *_numbers(row), row.note)
    table.row("overhead", "", "", f"{report.overhead_ms:.3f}", "", "", _overhead(report))
    table.row("total", "", "", f"{report.one_thread.best_ms:.3f}", "", "", "one run on one thread")
    peaks = ", ".join(f"{kind} {rate:.0f}" for kind, rate in report.peaks.items())
    work = f"   {report.gmacs:.0f} GMAC/s of {_macs(report.macs)}" if report.macs else ""
    lines = [
        f"one run          {_time(report.run)}{work}",
        *(
            [f"peak of a core   {peaks} GMAC/s on registers, the best of many, in turns with the kernels"]
            if peaks
            else []
        ),
        f"machine          {_machine(report)}",
        f"memory           {report.memory / 1e6:.1f} MB of tensors between steps",
    ]
    for name, rival in report.rivals.items():
        lines.append(f"{name:<16} {rival if isinstance(rival, str) else _beside(rival, report.run)}")
    lines += [f"warning          {text}" for text in report.warnings]
    return rendered(title, table, [*lines, *pixel_lines(pixels)])


def _overhead(report: Report) -> str:
    if report.overhead_ms < 0:
        return "kernels by themselves took longer than in the run"
    return "everything outside of kernels: checks, feeds, outputs, calls"


def _machine(report: Report) -> str:
    machine = report.machine
    clock = f", {machine.clock:.0f} MHz" if machine.clock else ""
    load = "" if machine.load is None else f", load {machine.load:g}"
    return f"{machine.cpu}, {machine.cores} cores{clock}{load}"


def report_record(model: str, pixels: Applied, report: Report, bits: int | None) -> str:
    """Return the measurements of a model as JSON."""
    rivals = {
        name: rival if isinstance(rival, str) else {**asdict(rival), "times_ours": rival.best_ms / report.run.best_ms}
        for name, rival in report.rivals.items()
    }
    record = {
        "model": model,
        "isa": report.isa,
        "threads": report.threads,
        "word_length": bits,
        "cpu": _cpu(),
        "machine": asdict(report.machine),
        "warnings": list(report.warnings),
        "peak_gmacs": dict(report.peaks),
        "run": asdict(report.run),
        "one_thread": asdict(report.one_thread),
        "overhead_ms": report.overhead_ms,
        "gmacs": report.gmacs,
        "macs": report.macs,
        "memory_bytes": report.memory,
        "kernels": [asdict(row) for row in report.rows],
        "rivals": rivals,
        "preprocessing": pixels.record,
        "notes": pixels.notes,
    }
    return json_text(record)


def kernels_table(measured: Measured) -> str:
    """Return the measurements of layers as a table."""
    table = Table()
    table.names("layer")
    table.words("word", importance=9)
    table.words("kernel", importance=2)
    _add_figures(table)
    for layer, word, row, _ in measured:
        table.row(layer, word, row.kernel, *_numbers(row), row.note)
    return rendered("layers, one thread", table, [])


def kernels_record(measured: Measured) -> str:
    """Return the measurements of layers as JSON."""
    layers = []
    for layer, word, row, _ in measured:
        numbers = {key: value for key, value in asdict(row).items() if key not in ("tensor", "operator")}
        layers.append({"layer": layer, "word": word, **numbers})
    return json_text({"cpu": _cpu(), "layers": layers})


def _add_figures(table: Table) -> None:
    table.numbers("ms", importance=9)
    table.numbers("GMAC/s", importance=7)
    table.numbers("% of peak", importance=8)
    table.text("note", importance=1)


def _numbers(row: Row) -> tuple[str, str, str]:
    rate = "" if row.gmacs is None else f"{row.gmacs:.0f}"
    share = "" if row.percent_of_peak is None else f"{row.percent_of_peak:.0f}"
    return f"{row.ms:.3f}", rate, share


def _time(timing: Timing) -> str:
    return f"{timing.best_ms:.2f} ms best, {timing.median_ms:.2f} ms median"


def _macs(count: int) -> str:
    return f"{count / 1e9:.2f} GMAC" if count >= 1e7 else f"{count / 1e6:.3g} MMAC"


def _beside(rival: Timing, ours: Timing) -> str:
    ratio = rival.best_ms / ours.best_ms
    return f"{_time(rival)}   {ratio:.2f} times ours"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _cpu() -> dict[str, Any]:
    return {"name": llvm.get_host_cpu_name(), "cores": available_threads()}
