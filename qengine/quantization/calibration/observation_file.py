"""File of an observation, with which formats can be chosen again without a run.

The file is an .npz of the arrays of `HistogramArrays`, and a header of JSON: the version of this layout, a key
that identifies the model and the data, the number of runs, the tensors' names, the ranges of channels, notes, and
the ranges before fused activations, or null.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np

from qengine.atomic_files import replacing
from qengine.data.read import ARRAY_ERRORS, read_entry
from qengine.errors import FeedError, first_line
from qengine.input_files import open_input
from qengine.model.graph import Graph
from qengine.quantization.calibration.channels import ChannelRanges
from qengine.quantization.calibration.histogram import HistogramArrays
from qengine.quantization.calibration.observe import Observation
from qengine.runtime.session import InferenceSession

VERSION = 4


def save_observation(observation: Observation, path: str | os.PathLike[str], key: str) -> None:
    """Write an observation to a file, whole or not at all.

    Parameters
    ----------
    observation
        Result of `observe`.
    path
        Path of the file.
    key
        Text that identifies the model and the data; `load_observation` needs the same.

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
        "notes": list(observation.notes),
        "sums": None if observation.sums is None else dict(observation.sums),
        "channels": {name: one.most.tolist() for name, one in observation.channels.items()},
    }
    arrays = HistogramArrays.of(list(observation.histograms.values()))
    with replacing(path) as temporary, temporary.open("wb") as file:
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        np.savez_compressed(file, allow_pickle=False, header=text, **arrays._asdict())


def load_observation(path: str | os.PathLike[str], model: Graph, key: str) -> Observation:
    """Return the observation of a file that `save_observation` wrote.

    Parameters
    ----------
    path
        Path of the file.
    model
        The model that was observed.
    key
        The key that the file was written with.

    Raises
    ------
    FeedError
        If the file is missing or damaged, or has another version or another key.
    """
    what = f"observation {Path(path)}"
    try:
        with open_input(path) as file, zipfile.ZipFile(file) as archive:
            header = json.loads(read_entry(archive, "header").tobytes())
            arrays = HistogramArrays(*(read_entry(archive, name) for name in HistogramArrays._fields))
        version, stored_key, runs, names = (header[name] for name in ("version", "key", "runs", "tensors"))
        channels = {name: ChannelRanges(np.array(most, float)) for name, most in header.get("channels", {}).items()}
        sums = (
            None if header["sums"] is None else {name: (float(a), float(b)) for name, (a, b) in header["sums"].items()}
        )
        histograms, notes = arrays.histograms(), tuple(map(str, header["notes"]))
    except ARRAY_ERRORS as error:
        raise FeedError(f"{what} cannot be read: {first_line(error)}") from None
    if version != VERSION:
        raise FeedError(f"{what} has version {version}, and this qengine reads version {VERSION}: observe again")
    if stored_key != key or len(names) != len(histograms):
        raise FeedError(f"{what} was made of another model, or of other data: observe again")
    session = InferenceSession(model, isa="reference").in_float32()
    by_name = dict(zip(names, histograms, strict=True))
    return Observation(session.graph, session.optimized, by_name, runs, channels, notes, sums)
