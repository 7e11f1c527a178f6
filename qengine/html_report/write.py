"""`report`: a model and its data to one HTML file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from qengine.analysis.evaluation import Evaluation
from qengine.atomic_files import check_writable, replacing
from qengine.errors import OptionError
from qengine.html_report.facts import Report
from qengine.html_report.gather.report import gather
from qengine.html_report.gather.subject import open_subject
from qengine.html_report.options import ReportKeywords, ReportOptions
from qengine.html_report.page import page
from qengine.keywords import check_keywords, options_with
from qengine.model.graph import Graph
from qengine.model.protos import model_proto
from qengine.progress import Progress, working
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession
from qengine.targets import Target

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

Model = "str | os.PathLike[str] | bytes | onnx.ModelProto | Graph | InferenceSession"


@dataclass(frozen=True)
class WrittenReport:
    """A report that was written.

    Attributes
    ----------
    path : the HTML file.
    facts : numbers of the report.
    evaluation : figures on all samples; None without data, or where a run failed.
    seconds : time that each part took.
    """

    path: Path
    facts: Report
    evaluation: Evaluation | None
    seconds: dict[str, float]

    @property
    def summary(self) -> str:
        """The outcome in a sentence."""
        return self.facts.summary

    def __repr__(self) -> str:
        """Return the path and the summary."""
        return f"<WrittenReport: {self.path}: {self.facts.summary}>"


def report(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph | InferenceSession,
    data: Any = None,
    output: str | os.PathLike[str] = "report.html",
    options: ReportOptions | None = None,
    *,
    session: SessionOptions | None = None,
    progress: Progress | None = None,
    **keywords: Unpack[ReportKeywords],
) -> WrittenReport:
    """Write an HTML file on a model in fixed point: one file that needs nothing else, equal for equal inputs.

    Parameters
    ----------
    model
        Path of an .onnx file, name of a bundled model, its bytes, an onnx.ModelProto, the graph of a session, or a
        session, whose options are then those of the report.
    data
        Samples, as `qengine.open_dataset` takes them; None for the data of a bundled model, and otherwise for a report
        without a run.
    output
        The file to write.
    options
        Parts and data of the report; None for the defaults.
    session
        Options of every session: formats, a target, arithmetic and limits. Without formats, they are chosen from the
        data.
    progress
        Function that is called with the progress.
    keywords
        Single fields of `ReportOptions` and `SessionOptions`, such as ``bits=8`` or ``target="cmsis-nn-q7"``. They
        replace those of `options` and `session`.

    Returns
    -------
    WrittenReport
        The path, the numbers of the page, and the evaluation that they come from.

    Raises
    ------
    QEngineError
        If the model or the data cannot be read, an option is not valid, or the file cannot be written. Where a part
        cannot be computed, the page says why.

    Examples
    --------
    >>> import tempfile
    >>> import qengine
    >>> path = f"{tempfile.mkdtemp()}/report.html"
    >>> written = qengine.report("digits", output=path, limit=100, quick=True)
    >>> written.facts.accuracy.float32.figures["top1"]
    0.99
    """
    check_keywords("report", keywords, ReportKeywords)
    if isinstance(model, InferenceSession) and session is None:
        session = model.options
    wanted = options_with(ReportOptions, options, keywords)
    settings = options_with(SessionOptions, session, keywords)
    for one in wanted.compared:
        Target.of(one)  # an unknown one is refused before a long run
    with _as_path(model) as (path, name):
        if name is not None and wanted.shown is None:
            wanted = options_with(ReportOptions, wanted, {"shown": name})
        check_writable(output, path)
        _check_ending(Path(output))
        subject = open_subject(path, data, wanted, settings, progress or working)
        facts, evaluation, seconds = gather(subject)
    with replacing(output) as temporary:
        temporary.write_text(page(facts), encoding="utf-8", newline="\n")
    return WrittenReport(Path(output), facts, evaluation, seconds)


def _check_ending(output: Path) -> None:
    """Raise OptionError for the name of a file that programs would not open as HTML."""
    if output.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"cannot write {output}: a report is an HTML file, so its name must end in .html")


@contextmanager
def _as_path(model: Any) -> Iterator[tuple[str, str | None]]:
    """Yield the path of a model, which is a temporary file for one in memory, and the name that it is shown by."""
    if isinstance(model, str | os.PathLike):
        yield os.fspath(model), None
        return
    with tempfile.TemporaryDirectory(prefix="qengine-report-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(_content(model))
        yield str(path), "model.onnx"


def _content(model: Any) -> bytes:
    """Return the bytes of a model in memory."""
    if isinstance(model, bytes):
        return model
    graph = model.network.source if isinstance(model, InferenceSession) else model
    if isinstance(graph, Graph):
        opsets: dict[str, int] = {}
        for node in graph.nodes:
            opsets[node.domain] = max(node.version, opsets.get(node.domain, 1))
        graph = model_proto(graph, opsets)
    serialize: Callable[[], bytes] | None = getattr(graph, "SerializeToString", None)
    if serialize is None:
        raise OptionError(f"a model is a path, bytes, an onnx.ModelProto or a session, not {type(model).__name__}")
    return serialize()
