"""The manifest of a pack, and the arrays that it describes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qengine
from qengine.data.preprocessing import Preprocessing
from qengine.deploy.pixel_codes import pixel_codes
from qengine.deploy.vectors.describe import format_as_json, rules_as_json
from qengine.deploy.vectors.files import Files, Kind
from qengine.deploy.vectors.layout import Layout
from qengine.deploy.vectors.model_file import write_model
from qengine.deploy.vectors.mutation import Faults, score_as_json
from qengine.deploy.vectors.names import identifiers
from qengine.deploy.vectors.operator_files import OperatorFiles
from qengine.deploy.vectors.operator_vectors import OperatorVector
from qengine.deploy.vectors.options import VectorOptions
from qengine.deploy.vectors.reach import Reach
from qengine.deploy.vectors.record import Recorder
from qengine.deploy.vectors.schema import manifest_schema
from qengine.model.digest import graph_digest
from qengine.model.formats.files import format_to_json
from qengine.qformat import Format
from qengine.runtime.session import InferenceSession

Array = NDArray[Any]
Run = tuple[str, Mapping[str, Any], str]
"""The name of a run, its feeds, and the words that say where they are from."""

SCHEMA = 1
"""The version of the schema."""

GENERATOR = "qengine"

WriteBenches = Callable[["Vectors", Files, list[dict[str, Any]]], dict[str, Any]]


@dataclass(frozen=True)
class Vectors:
    """Everything that a pack holds.

    Attributes
    ----------
    recorder, options : the network, and the options of the pack.
    samples, edges : runs of the network.
    single : vectors of single operators, by operator.
    reach : limits of each operator.
    shown : coverage by data, by data with edges, and by operator vectors, by operator.
    faults : faults of each operator, and what detects them.
    """

    recorder: Recorder
    options: VectorOptions
    samples: list[Run]
    edges: list[Run]
    single: Mapping[str, list[OperatorVector]]
    reach: Mapping[str, Reach]
    shown: tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]
    faults: Mapping[str, Faults]

    @cached_property
    def c_names(self) -> dict[str, str]:
        """The C name of every tensor."""
        return identifiers([*self.recorder.all_names, *self.recorder.tensors])

    def is_wanted(self, name: str) -> bool:
        """Whether the files of a tensor are written."""
        wanted, inputs = self.options.fetch, {value.name for value in self.recorder.session.graph.inputs}
        return wanted is None or name in wanted or name in inputs


def model_digest(session: InferenceSession) -> str:
    """Return the SHA-256 of the model of a session."""
    return graph_digest(replace(session.network.source, whole=frozenset(), given={}))


def formats_digest(session: InferenceSession) -> str:
    """Return the SHA-256 of the formats of a session."""
    text = json.dumps({name: format_to_json(fmt) for name, fmt in session.formats.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(
    vectors: Vectors, files: Files, write_benches: WriteBenches, preprocessing: Preprocessing | None
) -> None:
    """Write all files of a pack; the preprocessing is None where the inputs are not known to be pixels."""
    recorder, options = vectors.recorder, vectors.options
    session = recorder.session
    writer = _Tensors(vectors, files)
    operators = OperatorFiles(vectors, files)
    for name, feeds, _ in (*vectors.samples, *vectors.edges):
        arrays = recorder.run_all(feeds)
        writer.add(name, arrays)
        if options.accumulators:
            operators.add(name, arrays)
    tensors = writer.described()
    manifest = {
        "schema": SCHEMA,
        "generator": GENERATOR,
        "version": qengine.__version__,
        "model": {
            "sha256": model_digest(session),
            "inputs": [value.name for value in session.graph.inputs],
            "outputs": [value.name for value in session.graph.outputs],
        },
        "formats": {"sha256": formats_digest(session)},
        "preprocessing": None if preprocessing is None else preprocessing.record(),
        "pixels": [one.as_json() for one in pixel_codes(session, preprocessing)],
        "target": _target(session),
        "rules": rules_as_json(session.rules),
        "files": {
            "kinds": list(options.kinds),
            "layout": options.element_order,
            "lanes": options.lanes,
            "first_lane": options.first_lane,
        },
        "samples": [
            {"name": name, "kind": kind, "source": source}
            for kind, runs in (("data", vectors.samples), ("edge", vectors.edges))
            for name, _, source in runs
        ],
        "tensors": tensors,
        "operators": operators.described(),
        "mutation_score": score_as_json(vectors.faults),
        "test_benches": write_benches(vectors, files, tensors),
        "notes": [*writer.notes, *operators.notes, *write_model(session, files.folder)],
    }
    manifest["checksums"] = {path: _sha256(files, path) for path in sorted(files.written) if path.endswith(".npy")}
    files.write_text("manifest.schema.json", json.dumps(manifest_schema(), indent=1) + "\n")
    files.write_text("manifest.json", json.dumps(manifest, indent=1, allow_nan=False) + "\n")


def _sha256(files: Files, path: str) -> str:
    return hashlib.sha256((files.folder / path).read_bytes()).hexdigest()


def _target(session: InferenceSession) -> str | None:
    target = getattr(session.options, "target", None)
    return None if target is None else str(getattr(target, "name", target))


class _Tensors:
    """The tensors of a network: their files, run by run, and their descriptions."""

    def __init__(self, vectors: Vectors, files: Files) -> None:
        self._vectors, self._files = vectors, files
        self._found: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []
        graph = vectors.recorder.session.graph
        self._inputs = {value.name for value in graph.inputs}
        self._outputs = {value.name for value in graph.outputs}
        self._constants = graph.constants.keys() - self._inputs
        read = {name for o in vectors.recorder.operators for name in (*o.reads, o.output.name)}
        self._computed = read | self._inputs

    def add(self, run: str, arrays: Mapping[str, Array]) -> None:
        """Write the tensors of a run."""
        for name in self._vectors.c_names:
            if name not in arrays:
                self._leave_out(name, "gives no tensor")
                continue
            array = arrays[name]
            if array.dtype.kind in "OUS":
                self._leave_out(name, "holds text")
                continue
            if array.dtype.kind not in "fiubc":
                array = array.astype(np.float32)  # NumPy's files have no bfloat16
            if name in self._found and name in self._constants:
                continue
            fmt = self._format(name, array)
            kind = Kind.of(array, fmt)
            stem = self._stem(name)
            if self._vectors.is_wanted(name):
                self._files.write(stem.replace("{sample}", run), name, array, kind)
            self._describe(name, array, fmt, kind, stem)

    def _leave_out(self, name: str, why: str) -> None:
        note = f"'{name}' {why} and is left out"
        if note not in self.notes:
            self.notes.append(note)

    def _stem(self, name: str) -> str:
        folder = "c" if name in self._constants else "t/{sample}"
        return f"{folder}/{self._vectors.c_names[name]}"

    def _format(self, name: str, array: Array) -> Format | None:
        tensor = self._vectors.recorder.tensors.get(name)
        if tensor is not None and tensor.format is not None:
            return tensor.format
        session = self._vectors.recorder.session
        fmt = session.formats.get(name)
        constant = session.graph.constants.get(name)
        is_coded = constant is None or constant.dtype.kind == "f"
        return fmt if fmt is not None and is_coded and array.dtype == fmt.dtype else None

    def _describe(self, name: str, array: Array, fmt: Format | None, kind: Kind, stem: str) -> None:
        layout: Layout = self._vectors.options.order()
        ends = _ends(array)
        if name in self._found:
            old = self._found[name]["range"]
            if old is not None and ends is not None:
                self._found[name]["range"] = [min(old[0], ends[0]), max(old[1], ends[1])]
            return
        self._found[name] = {
            "name": name,
            "c_name": self._vectors.c_names[name],
            "kind": self._kind(name),
            "fused": name not in self._computed and name not in self._constants,
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "bits": kind.bits or None,
            "signed": kind.signed if kind.bits else None,
            **format_as_json(fmt),
            "layout": layout.name if layout.applies(array.ndim) else "nchw",
            "order": layout.describe(array.ndim),
            "file": stem if self._vectors.is_wanted(name) else None,
            "range": ends,
        }

    def _kind(self, name: str) -> str:
        if name in self._inputs:
            return "input"
        if name in self._outputs:
            return "output"
        return "constant" if name in self._constants else "intermediate"

    def described(self) -> list[dict[str, Any]]:
        """Return the descriptions of the tensors."""
        return list(self._found.values())


def _ends(array: Array) -> list[int] | None:
    """Return the least and the most code; None for real numbers and for no elements."""
    if array.dtype.kind not in "iub" or not array.size:
        return None
    return [int(array.min()), int(array.max())]
