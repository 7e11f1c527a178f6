"""A golden pack as what a dump is compared with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qengine.deploy.compare.subject import Subject, feeds_of_codes
from qengine.deploy.vectors.model_file import read_session
from qengine.deploy.vectors.pack import MANIFEST, Pack
from qengine.errors import DumpError
from qengine.model.steps import Tensor
from qengine.qformat import QFormat
from qengine.runtime.session import InferenceSession


def is_pack_folder(path: Any) -> bool:
    """Whether a path is that of a folder with a manifest."""
    return isinstance(path, str | os.PathLike) and (Path(path) / MANIFEST).is_file()


def subject_of_pack(folder: str | os.PathLike[str], session: InferenceSession | None = None) -> Subject:
    """Return the model of a pack and its runs.

    Parameters
    ----------
    folder
        The pack.
    session
        A session whose model, formats and rules the pack must have; None for the model in the pack.

    Raises
    ------
    FeedError
        If the pack is damaged, or one of another model, of other formats or of other rules.
    DumpError
        If the model does not give the codes of the pack.
    """
    pack = Pack.read(folder, session)
    if not pack.samples:
        raise DumpError(f"{folder} is a pack without samples: export it again, with data")
    own = read_session(pack.folder) if session is None else session
    samples = _Samples(pack, own)
    aliases = {one["c_name"]: name for name, one in pack.tensors.items()}
    subject = Subject(own, samples, list(pack.samples), aliases)
    _check(pack, subject)
    return subject


class _Samples(list[Mapping[str, Any]]):
    """The feeds of the runs of a pack, read when they are first needed."""

    def __init__(self, pack: Pack, session: InferenceSession) -> None:
        super().__init__({} for _ in pack.samples)
        self._pack, self._session = pack, session

    def __getitem__(self, index: Any) -> Any:
        if not super().__getitem__(index):
            super().__setitem__(index, self._feeds(self._pack.samples[index]))
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[i] for i in range(len(self)))

    def _feeds(self, sample: str) -> dict[str, Any]:
        codes = self._pack.feeds(sample)
        values = {value.name: value for value in self._session.graph.inputs}
        tensors = []
        for name, array in codes.items():
            described = self._pack.tensors[name]["format"]
            fmt = QFormat.of(described) if isinstance(described, str) else None
            dtype = values[name].dtype if name in values else None
            kept = array.dtype if fmt is None else dtype or np.dtype(np.float32)
            tensors.append(Tensor(name, kept, array.shape, None, fmt))
        return feeds_of_codes(tensors, codes)


def _check(pack: Pack, subject: Subject) -> None:
    """Raise DumpError unless the model gives the codes of the first run of a pack."""
    reference = subject.reference(0)
    for name, described in pack.tensors.items():
        if described["kind"] == "constant" or described["file"] is None or name not in reference.arrays:
            continue
        codes, found = pack.codes(pack.samples[0], name), reference.arrays[name]
        if codes.shape == found.shape and not np.array_equal(codes, found):
            count = int(np.count_nonzero(codes != found))
            raise DumpError(
                f"{pack.folder}: {count:,} of {codes.size:,} codes of '{name}' are not those that the model gives: "
                "the pack was changed, or is of another version of qengine; export it again"
            )
