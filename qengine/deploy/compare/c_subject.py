"""A network in C as what a trace is compared with: its model, if it was exported with it, or one that is given."""

from __future__ import annotations

import os

from qengine.deploy.compare.subject import Subject
from qengine.deploy.vectors.manifest import formats_digest, model_digest
from qengine.deploy.vectors.model_file import read_session
from qengine.errors import FeedError
from qengine.runtime.session import InferenceSession


def subject_of_c(folder: str | os.PathLike[str], session: InferenceSession | None = None) -> Subject:
    """Return the model of a network in C; the inputs come from the trace.

    Parameters
    ----------
    folder
        The folder.
    session
        A session whose model and formats the network must have; None for the model in the folder.

    Raises
    ------
    FeedError
        If the folder holds no model, or the session has another model or other formats.
    """
    from qengine.deploy.c.project import CProject  # slow to import, and seldom needed

    project = CProject.read(folder)
    if session is None and "model.onnx" not in project.files:
        raise FeedError(f"{folder} has no model: export it with --trace, or give the model with --model MODEL")
    own = read_session(project.folder) if session is None else session
    for what, found in (("model", model_digest(own)), ("formats", formats_digest(own))):
        expected = project.manifest[what]["sha256"]
        if found != expected:
            raise FeedError(f"{folder} has another {what}: {expected[:12]}, that of the session is {found[:12]}")
    return Subject(own, aliases={one["c_name"]: name for name, one in project.tensors.items()})
