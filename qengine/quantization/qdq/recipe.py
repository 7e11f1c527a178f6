"""Quantization of a model as a whole: formats chosen on data, corrections, and the quantized ONNX model."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from qengine.atomic_files import replacing
from qengine.data.datasets import DataKeywords, data_keywords, graph_of, provenance_of, runs_of
from qengine.data.provenance import Provenance
from qengine.data.scale_check import notes_on_runs
from qengine.errors import OptionError
from qengine.keywords import check_keywords, options_with
from qengine.model.formats.files import FormatsByName, format_to_json
from qengine.model.graph import RECORD, Graph
from qengine.model.ops.operator import find
from qengine.model.passes import remove_dead
from qengine.model.steps import Rows
from qengine.progress import working
from qengine.qformat import QFormat
from qengine.quantization.calibration import CalibrationKeywords, CalibrationOptions, choose_formats, observe
from qengine.quantization.correction import CorrectionEntry, Verdict, correct
from qengine.quantization.correction.result import summary_of
from qengine.quantization.qdq.check import check_written
from qengine.quantization.qdq.pairs import UndecidedFormatError
from qengine.quantization.qdq.shape_formats import with_formats, with_shape_formats
from qengine.quantization.qdq.spelling import ACTIVATION_BITS
from qengine.quantization.qdq.write import Writes, check_rules, quantized_model
from qengine.results import Record, Result, plain
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession
from qengine.targets import Target
from qengine.targets.run_rules import RulesOption

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only


_SAID_BY_QONNX = ("target", "rules", "rounding", "overflow")
"""Options of a session that a QONNX model can say."""


@dataclass(frozen=True, repr=False)
class QuantizedModel(Result):
    """A quantized model.

    Attributes
    ----------
    model : the ONNX model, with pairs of QuantizeLinear and DequantizeLinear, or with Quant nodes of QONNX.
    session : session in fixed point that gives the same bits.
    entries : entry for each layer that a correction changed or left.
    check : phrase that tells what was compared of the model, read back, and the session; or why nothing was.
    verdicts : verdict on each step of a guarded recipe, such as "best".
    target : device within whose constraints formats were chosen and whose rules are not in the file; None for none.
    data_notes : warnings about the data, such as pictures on another scale than the network's.
    """

    model: onnx.ModelProto
    session: InferenceSession
    entries: tuple[CorrectionEntry, ...]
    check: str
    verdicts: tuple[Verdict, ...] = ()
    target: str | None = None
    data_notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The result in one line."""
        return f"{summary_of(self.session.graph.name, self.entries, self.verdicts)}; {self.check}"

    def records(self) -> list[Record]:
        """Return a row for each tensor with a format."""
        return [{"tensor": name, "format": fmt} for name, fmt in self.session.formats.items()]

    def record(self) -> Record:
        """Return the formats and what was corrected as an object of plain values."""
        known = {name: getattr(self, name) for name in ("entries", "verdicts", "check", "target", "notes")}
        return plain({"formats": self.session.formats, **known})  # type: ignore[no-any-return]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to .onnx, the formats and corrections to .json, or the table of formats to .csv.

        Raises
        ------
        OptionError
            If the file has another ending, or cannot be written.
        """
        if Path(path).suffix.lower() == ".onnx":
            self.write_model(path)
        elif Path(path).suffix.lower() in (".json", ".csv"):
            super().save(path)
        else:
            raise OptionError(f"cannot save {os.fspath(path)}: the name must end in .onnx, .json or .csv")

    def write_model(self, path: str | os.PathLike[str]) -> None:
        """Write the ONNX model to a file of any name, whole or not at all; raise OptionError where that fails."""
        with replacing(path) as temporary:
            temporary.write_bytes(content := self.model.SerializeToString())
            if temporary.read_bytes() != content:
                raise OptionError(f"cannot write {path}: the file does not hold what was written to it")

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the data, and on what the model cannot say to other runtimes."""
        found = list(self.data_notes)
        if self.target is not None:
            found.append(
                f"formats are within target {self.target}, and its rules are not in the file, which rounds half to "
                f"even as ONNX does: give target {self.target} to a run"
            )
        if count := _recurrent_nodes(self.session.graph):
            what = "1 recurrent node" if count == 1 else f"{count} recurrent nodes"
            rest = "other runtimes compute gates and cells in float32, between pairs"
            found.append(f"{what} computed on codes here: {rest}")
        if count := _nodes_on_rows(self.session.optimized):
            what = "1 operator on rows" if count == 1 else f"{count} operators on rows"
            found.append(
                f"{what}, such as Softmax, computed by integers here: codes of other runtimes may differ by one"
            )
        return tuple(found)


class QuantizeKeywords(CalibrationKeywords, DataKeywords, total=False):
    """The fields of `CalibrationOptions`, rules and limits of `SessionOptions`, and how data is read, as keywords."""

    rules: RulesOption | str | os.PathLike[str] | None
    rounding: str | None
    threads: int | None
    max_elements: int
    max_memory: int | str | None
    max_iterations: int


_OF_SESSION = ("rules", "rounding", "overflow", "threads", "max_elements", "max_memory", "max_iterations")


def quantize_model(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    data: Any = None,
    *,
    recipe: str | Sequence[str] = ("fold",),
    formats: FormatsByName | None = None,
    qformat: QFormat | str | None = None,
    options: CalibrationOptions | None = None,
    session: SessionOptions | None = None,
    writes: Writes = "qdq",
    provenance: Provenance | None = None,
    **keywords: Unpack[QuantizeKeywords],
) -> QuantizedModel:
    """Return a model as a quantized ONNX model, with its constants corrected and formats chosen on data.

    Parameters
    ----------
    model
        Model that `InferenceSession` takes.
    data
        Data that `open_dataset` takes; an iterable of mappings that `InferenceSession.run` takes is fed unchanged, one
        mapping a run. Where formats are given, only corrections need it.
    recipe
        "best", "none", or names of corrections; see `qengine.quantization.correction.correct`.
    formats
        Formats of the activations, and of constants if wanted, in place of those that are chosen on the data.
    qformat
        Format of the activations that have none otherwise: those that `formats` does not name, and those that no run of
        the data computed, as in a branch that was never taken.
    options, keywords
        See `CalibrationOptions`. Activations have 8 or 16 bits where pairs are written. And `preprocessing`, `batch`,
        `limit` and `labels` of the data, see `open_dataset`; and rules and limits of the session, which replace those
        of `session`.
    session
        Options of the runs, of which the limits (``max_...``), `threads` and the target have an effect: formats are
        chosen within its constraints. None for the defaults. For QONNX `target`, `rules`, `rounding` and `overflow`
        have one too: each tensor is written with its own. Rules that the nodes cannot say are an error, except those of
        a target with pairs where formats are chosen on data.
    writes
        Nodes that round: "qdq", pairs of ONNX, or "qonnx", Quant nodes.
    provenance
        Data that the formats come from, for the metadata of the model; None for `data`, if formats are chosen on it.

    Returns
    -------
    QuantizedModel
        The ONNX model, a session that gives the same bits, and what was corrected.

    Raises
    ------
    OptionError
        If there are neither formats nor data, the value of an option is not allowed, or the nodes cannot say a rule.
    UnsupportedError
        If the model, read back, gives other codes than the session, on the first sample of the data or, without data,
        on one that is made up.
    QEngineError
        See `calibrate`, `correct` and `quantized_model`.

    Examples
    --------
    >>> import qengine
    >>> digits = qengine.zoo.find("digits")
    >>> found = qengine.quantize_model(digits.path, digits.sample().feeds["image"][:50], bits=8)
    >>> str(found.session.formats["image"]), found.model.graph.node[0].op_type
    ('UQ0.8', 'QuantizeLinear')
    """
    check_keywords("quantize_model", keywords, QuantizeKeywords)
    of_session = {name: value for name, value in keywords.items() if name in _OF_SESSION}
    runs = options_with(SessionOptions, session, of_session)
    options = options_with(CalibrationOptions, options, keywords).for_runs(runs)
    limits, observing = runs.in_float32(), options.for_observing(runs)
    if formats is None and data is None:
        if qformat is None:
            raise OptionError("formats are needed, or a qformat, or data that formats are chosen on: give one of them")
        formats = {}
    # A target's constraints hold for formats that are chosen on data, also where pairs are written.
    check_rules((replace(runs, target=None) if writes == "qdq" and formats is None else runs).rules_of_run(), writes)
    if writes == "qdq" and formats is None and options.activation_word_length not in ACTIVATION_BITS:
        raise OptionError(f"a quantized model stores activations in 8 or 16 bits, not {options.activation_word_length}")
    graph = graph_of(model)
    data_notes: tuple[str, ...] = ()
    if data is not None:
        data = runs_of(data, graph, data_keywords(keywords), again=True)
        data_notes, _ = notes_on_runs(graph, data, limits)
    if provenance is None and formats is None:
        provenance = provenance_of(os.fspath(model) if isinstance(model, str | os.PathLike) else graph.name, data)
    if provenance is not None:
        graph = replace(graph, metadata={RECORD: json.dumps(provenance.record())})
    unused = graph.tensors() - remove_dead(graph).tensors()

    said = _SAID_BY_QONNX if writes == "qonnx" else ()
    rules = {name: getattr(runs, name) for name in said}
    if not said:  # what is read back fuses functions
        observing = replace(observing, rules=None)

    def formats_of(changed: Graph) -> FormatsByName:
        found: FormatsByName
        if formats is not None or data is None:
            # Corrections remove results that nothing reads, such as the last state of a GRU; a calibration names them.
            found = {name: fmt for name, fmt in (formats or {}).items() if name not in unused}
        else:
            with working("choosing formats"):
                found = choose_formats(observe(changed, data, observing), options).formats
        return found if qformat is None else _with_rest(changed, found, qformat)

    corrected = correct(graph, formats_of, data, recipe, limits)
    fixed = InferenceSession(corrected.graph, replace(limits, **rules, formats=corrected.formats, qformat=qformat))
    fixed = with_shape_formats(fixed, data)
    try:
        written = quantized_model(fixed, writes)
    except UndecidedFormatError as error:
        if qformat is None:
            raise
        fixed = with_formats(fixed, dict.fromkeys(error.names, QFormat.of(qformat)))
        written = quantized_model(fixed, writes)
    with working("comparing what was written with the session"):
        check = check_written(fixed, written, data)
    is_said = writes == "qonnx" and runs.target is not None
    target = options.target.name if isinstance(options.target, Target) and not is_said else None
    return QuantizedModel(written, fixed, corrected.entries, check, corrected.verdicts, target, data_notes)


def _recurrent_nodes(graph: Graph) -> int:
    """Return the number of nodes with tensors inside that have formats, in the graphs of nodes too."""
    return sum(bool(node.hidden) + sum(map(_recurrent_nodes, node.graphs.values())) for node in graph.nodes)


def _nodes_on_rows(graph: Graph) -> int:
    """Return the number of nodes whose results depend on rows of codes, in the graphs of nodes too."""
    own = sum(find(node).kinds == (Rows,) or node.operator == "Attention" for node in graph.nodes)
    return own + sum(_nodes_on_rows(inner) for node in graph.nodes for inner in node.graphs.values())


def _with_rest(graph: Graph, formats: FormatsByName, qformat: QFormat | str) -> FormatsByName:
    """Return formats with one for the activations that have none."""
    all_formats = InferenceSession(graph, formats=formats, qformat=qformat).formats
    constants = {graph.derived.get(name, name) for name in graph.constants}
    return {**{name: format_to_json(fmt) for name, fmt in all_formats.items() if name not in constants}, **formats}
