"""Files of the results that a sweep computes once for a model and its data: histograms, and the outputs in float32.

Float32 may differ in the last bit from machine to machine. So its outputs are computed once, and every worker compares
with the same ones.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from qengine.analysis.sweep.points import NO_CORRECTION
from qengine.analysis.sweep.prepare import Ranges
from qengine.atomic_files import replacing
from qengine.data.datasets import Batch
from qengine.data.datasets.runs import feeds_of
from qengine.data.read import ARRAY_ERRORS, read_entry
from qengine.errors import FeedError, QEngineError, SweepError, UnsupportedError, first_line
from qengine.input_files import open_input
from qengine.model.graph import Graph
from qengine.progress import Advance
from qengine.qformat import Overflow
from qengine.quantization.calibration import Observation, load_observation, observe, save_observation
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

_MAX_CACHED_BYTES = 1 << 26  # larger outputs are read again for every point


def histograms_path(folder: Path, key: str, corrections: Ranges, *, fuses: bool = True) -> Path:
    """Return the path of the histograms of a model with some corrections."""
    return folder / f"{key[:16]}{_suffix(corrections, fuses)}.histograms.npz"


def _suffix(corrections: Ranges, fuses: bool) -> str:
    return ("" if corrections is None else f".{'+'.join(corrections) or NO_CORRECTION}") + ".unfused" * (not fuses)


def float32_path(folder: Path, key: str) -> Path:
    """Return the path of the outputs in float32 of a sweep."""
    return folder / f"{key[:16]}.float32.npz"


def ensure_histograms(
    folder: Path,
    key: str,
    corrections: Ranges,
    graph: Graph,
    runs: Iterable[Batch],
    advance: Advance,
    options: SessionOptions,
) -> Observation:
    """Return the histograms of a model on its data: those in the folder, or new ones, written there.

    Parameters
    ----------
    folder, key
        Folder of the files, and the key of the sweep.
    corrections
        Corrections that the model has.
    graph, runs
        The model and the data.
    advance
        Function that is called with the number of samples that are done.
    options
        Options of the session that observes the model; where results wrap, the sums before activations are needed too.
    """
    try:
        observation = load_histograms(folder, key, corrections, graph)
        if observation.sums is None and options.rules_of_run().overflow is Overflow.WRAP:
            raise SweepError("a point needs the sums before activations")
        return observation
    except SweepError:  # missing, damaged, or not enough: only time is lost
        observation = observe(graph, feeds_of(runs, advance), options)
        path = histograms_path(folder, key, corrections, fuses=graph.fuses)
        save_observation(observation, path, key + _suffix(corrections, graph.fuses))
        return observation


def load_histograms(folder: Path, key: str, corrections: Ranges, graph: Graph) -> Observation:
    """Return the histograms that `ensure_histograms` wrote.

    Raises
    ------
    SweepError
        If the file is missing, damaged, or of another model.
    """
    try:
        path = histograms_path(folder, key, corrections, fuses=graph.fuses)
        return load_observation(path, graph, key + _suffix(corrections, graph.fuses))
    except FeedError as error:
        raise SweepError(str(error)) from None


def ensure_float32(
    folder: Path, key: str, reference: InferenceSession, runs: Iterable[Batch], advance: Advance
) -> Float32Outputs:
    """Return the outputs of a session in float32 on all data: those in the folder, or new ones, written there.

    Raises
    ------
    QEngineError
        If a run fails, or an output is not a tensor of numbers.
    """
    path = float32_path(folder, key)
    try:
        return Float32Outputs(path, key)
    except SweepError:  # as above
        pass
    names = [value.name for value in reference.get_outputs()]
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        done = 0
        for batch in runs:
            try:
                outputs = reference.run(names, batch.feeds)
            except QEngineError as error:
                raise error.about(f"run {done + 1} of the data") from None
            for i, array in enumerate(outputs):
                if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                    raise UnsupportedError(
                        f"output '{names[i]}' is not a tensor of numbers: there is nothing to measure"
                    )
                with archive.open(f"{_entry(done, i)}.npy", "w", force_zip64=True) as file:
                    npy.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
            done += 1
            advance(batch.count)
        archive.writestr("header.json", json.dumps({"version": 1, "key": key, "outputs": names, "runs": done}))
    return Float32Outputs(path, key)


def _entry(run: int, output: int) -> str:
    return f"{run}/{output}"


class Float32Outputs:
    """Outputs in float32 of all runs, read from a file.

    Parameters
    ----------
    path, key
        Path of the file, and the key of the sweep that wrote it.

    Raises
    ------
    SweepError
        If the file is missing, damaged, or of another sweep.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._cached: list[dict[str, NDArray[Any]]] | None = None
        try:
            with open_input(path) as file, zipfile.ZipFile(file) as archive:
                header = json.loads(archive.read("header.json"))
            if header["version"] != 1 or header["key"] != key:
                raise ValueError("it belongs to another sweep")
            self.names: list[str] = header["outputs"]
            self.runs: int = header["runs"]
        except ARRAY_ERRORS as error:
            raise SweepError(f"{path} cannot be read: {first_line(error)}") from None

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the outputs of each run, by name; they are read once if they are small."""
        if self._cached is not None:
            yield from self._cached
            return
        try:
            is_small = self._path.stat().st_size <= _MAX_CACHED_BYTES
            kept = []
            with open_input(self._path) as file, zipfile.ZipFile(file) as archive:
                for run in range(self.runs):
                    found = {}
                    for i, name in enumerate(self.names):
                        found[name] = read_entry(archive, _entry(run, i))
                    if is_small:
                        kept.append(found)
                    yield found
            if is_small:
                self._cached = kept
        except (*ARRAY_ERRORS, FeedError) as error:
            raise SweepError(
                f"{self._path} is damaged ({first_line(error)}): delete it, and give the same command again"
            ) from None
