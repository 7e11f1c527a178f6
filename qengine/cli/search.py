"""`qengine search`: the fewest bits in which a model is still good enough."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from qengine.analysis.search import search as find_formats
from qengine.atomic_files import check_writable
from qengine.cli import options, search_options
from qengine.cli.operators import run_files
from qengine.cli.output.progress import progress, status
from qengine.cli.output.search import as_json, as_tables
from qengine.cli.pixels import with_scale_notes
from qengine.data import zoo
from qengine.data.datasets import provenance_of
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions
from qengine.runtime.options import SessionOptions


def search(
    *,
    model: options.Model,
    data: options.DataOptions,
    out: options.FormatsOut = None,
    goal: search_options.GoalOptions,
    method: options.MethodOptions,
    rules: options.TensorRuleOptions,
    arithmetic: options.ArithmeticOptions,
    kernels: options.KernelOptions,
    command: options.CommandOptions,
) -> str:
    """Find the fewest bits, tensor by tensor, that are still good enough on data.

    qengine search digits --max-drop 1% --cost bit-operations -o f.json && qengine run digits --formats f.json

    qengine search model.onnx --data set.npz --metric sqnr --min 30 --activation-bits 8 -o formats.json

    qengine search digits --hold-out 0.3 --max-drop 1% -o formats.json

    With -o FILE, FILE.measured keeps every measurement: a search that was stopped continues when the same command is
    given again.

    The sensitivity to each tensor at each word length is measured first; then the model itself, in ever fewer bits.
    """
    # The code of registered operators is in no key.
    keep = None if out is None or command.operators else out.with_name(f"{out.name}.measured")
    settings = goal.search_options(keep)
    calibration = CalibrationOptions(
        **vars(method), **{**vars(rules), "output_bits": rules.output_word_length}, target=arithmetic.target
    )
    entry = zoo.find(model)
    if out is not None:
        check_writable(out, zoo.path_of(model))
    if data.data is None and entry is None:
        raise OptionError("--data is needed: the samples that the model is evaluated on")
    name = data.data or model
    run_files(command.operators or [])
    with status(f"reading {model}", quiet=command.quiet), np.errstate(all="ignore"):
        graph = load(zoo.path_of(model))
        base = data.base(model, graph)
        dataset = data.open(name, base, graph, kernels.max_elements, several=True)
        pixels = with_scale_notes(data.applied(base, graph, dataset), base, graph, dataset)

    with _kept(keep):
        result = find_formats(
            graph,
            dataset,
            replace(settings, preprocessing=dataset.preprocessing),
            session=SessionOptions(**arithmetic.typed(), **vars(kernels)),
            calibration=calibration,
            progress=lambda name, total: progress(f"{model}: {name}", total, quiet=command.quiet),
        )
    notes = tuple(note for note in result.notes if note not in pixels.notes)
    result = replace(result, provenance=provenance_of(model, dataset), notes=notes)
    if out is not None:
        result.save(out)
    if keep is not None and result.is_complete:
        keep.unlink(missing_ok=True)
    elif keep is not None:
        note = f"{keep} keeps what was measured: give the same command with more --max-runs or --seconds to continue"
        result = replace(result, notes=(*result.notes, note))
    return (as_json if command.json else as_tables)(model, dataset, pixels, result, out)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came; it ends a search as Ctrl-C does."""


@contextmanager
def _kept(keep: Path | None) -> Iterator[None]:
    """Tell where the measurements of a search are that a signal ends; after that, SIGTERM ends the process as ever."""

    def terminate(*_: object) -> None:
        raise _Terminated

    is_main = threading.current_thread() is threading.main_thread()
    if keep is None or not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as end:
        word = "terminated" if isinstance(end, _Terminated) else "interrupted"
        kept = f"{keep} keeps what was measured: give the same command to continue"
        text = f"qengine: {word}; {kept if keep.exists() else 'nothing was measured yet'}"
        print(text, file=sys.stderr, flush=True)  # noqa: T201
        if isinstance(end, _Terminated):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
