"""The check of commands that pictures have the scale that the network was trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qengine.data.applied import Applied, Base
from qengine.data.datasets import Dataset
from qengine.data.scale_check import scale_notes
from qengine.model.graph import Graph
from qengine.runtime.session import InferenceSession


def with_scale_notes(
    pixels: Applied,
    base: Base,
    model: InferenceSession | Graph,
    first: Dataset | Mapping[str, Any],
    formats: Path | None = None,
) -> Applied:
    """Return how pixels are read with warnings about a scale that is plainly wrong; see `scale_notes`.

    Parameters
    ----------
    pixels, base
        Preprocessing as it is applied, and where nothing is typed.
    model
        Session that runs, or the model.
    first
        Feeds of the first run, or the data.
    formats
        Formats file that was typed; None for none.
    """
    feeds = next(iter(first.batches())).feeds if isinstance(first, Dataset) else first
    session = InferenceSession(model) if isinstance(model, Graph) else model
    with np.errstate(all="ignore"):
        return pixels.with_notes(scale_notes(session, feeds, pixels, base, has_formats=formats is not None))
