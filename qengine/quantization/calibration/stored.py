"""An observation in a file, so that formats can be chosen again without a run.

The file is an .npz of five arrays over the tensors that were seen, and a header of JSON: the version of this layout,
a key of what was observed, the number of runs, and the tensors' names.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from qengine.atomic_files import replacing
from qengine.errors import FeedError, first_line
from qengine.model.graph import Graph
from qengine.quantization.calibration.histogram import HistogramArrays
from qengine.quantization.calibration.observe import Observation
from qengine.runtime.session import InferenceSession

VERSION = 2
_DAMAGE = (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile, zlib.error)


def save_observation(observation: Observation, path: str | os.PathLike[str], key: str) -> None:
    """Write what was observed, whole or not at all.

    Parameters
    ----------
    observation
        What `observe` found.
    path
        The file.
    key
        Stands for the model and the data; `load_observation` asks for it.

    Raises
    ------
    OptionError
        If it cannot be written.
    """
    header = {
        "version": VERSION,
        "key": key,
        "runs": observation.runs,
        "tensors": list(observation.histograms),
    }
    arrays = HistogramArrays.of(list(observation.histograms.values()))
    with replacing(path) as temporary, temporary.open("wb") as file:
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        np.savez_compressed(file, allow_pickle=False, header=text, **arrays._asdict())


def load_observation(path: str | os.PathLike[str], model: Graph, key: str) -> Observation:
    """Read what `save_observation` wrote of a model.

    Raises
    ------
    FeedError
        If the file is missing, damaged, of another version, or of another model or other data.
    """
    what = f"observation {Path(path)}"
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(archive["header"].tobytes())
            arrays = HistogramArrays(*(archive[name] for name in HistogramArrays._fields))
        version, found, runs, names = (header[name] for name in ("version", "key", "runs", "tensors"))
        histograms = arrays.histograms()
    except _DAMAGE as error:
        raise FeedError(f"{what} cannot be read: {first_line(error)}") from None
    if version != VERSION:
        raise FeedError(f"{what} is of version {version}, and this is qengine for version {VERSION}: observe again")
    if found != key or len(names) != len(histograms):
        raise FeedError(f"{what} is of another model, or of other data: observe again")
    session = InferenceSession(model, isa="reference").in_float32()
    return Observation(session.graph, session.optimized, dict(zip(names, histograms, strict=True)), runs)
