"""CProject: a folder with a network in C, as it was exported or read back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from qengine.data.datasets import DataKeywords, Dataset
from qengine.data.preprocessing import Preprocessing
from qengine.deploy.c.manifest import c_schema
from qengine.deploy.c_folder import manifest_of
from qengine.deploy.vectors.schema import fault_of
from qengine.errors import FeedError, OptionError
from qengine.keywords import check_keywords
from qengine.results import Record, Result

if TYPE_CHECKING:
    from qengine.deploy.c.verifier import Verifier
    from qengine.deploy.c.verify import Verification


@dataclass(frozen=True, repr=False)
class CProject(Result):
    """A network in C on disk.

    Attributes
    ----------
    folder : the folder.
    manifest : content of NAME.json.
    """

    folder: Path
    manifest: dict[str, Any]
    _verifier: Verifier | None = field(default=None, repr=False, compare=False)

    @property
    def summary(self) -> str:
        """The network in one line."""
        return f"network '{self.name}' in C in {self.folder}, arena {self.arena:,} bytes"

    def records(self) -> list[Record]:
        """Return a row for each tensor, as the manifest has it."""
        return [dict(one) for one in self.manifest["tensors"]]

    def record(self) -> Record:
        """Return the manifest."""
        return self.manifest

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> CProject:
        """Return the network in a folder.

        Raises
        ------
        FeedError
            If the folder holds none, or a damaged one.
        """
        path = Path(folder)
        manifest = manifest_of(path)
        if manifest is None:
            raise FeedError(f"{folder} holds no network in C: it has no manifest that `qengine export c` wrote")
        if fault := fault_of(manifest, c_schema()):
            raise FeedError(f"{folder}: {fault}")
        return cls(path, manifest)

    @property
    def name(self) -> str:
        """The prefix of all names in C and of the files."""
        return str(self.manifest["name"])

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files."""
        return (*self.manifest["checksums"], f"{self.name}.json")

    @property
    def arena(self) -> int:
        """The bytes of the arena."""
        return int(self.manifest["memory"]["arena"])

    @property
    def bound(self) -> int:
        """The bytes below which no arena of this network can be."""
        return int(self.manifest["memory"]["bound"])

    @property
    def flash(self) -> int:
        """The bytes of weights and tables."""
        return int(self.manifest["flash"])

    @property
    def macs(self) -> int:
        """The number of products."""
        return int(self.manifest["macs"])

    @property
    def tensors(self) -> dict[str, dict[str, Any]]:
        """The descriptions of the tensors by their names in the model."""
        return {one["name"]: one for one in self.manifest["tensors"]}

    @property
    def operators(self) -> list[dict[str, Any]]:
        """The descriptions of the operators in the order in which they run."""
        return list(self.manifest["operators"])

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user."""
        return tuple(self.manifest["notes"])

    @property
    def verification(self) -> dict[str, Any] | None:
        """The verification at the export, as JSON; None without `verify=True`."""
        found: dict[str, Any] | None = self.manifest["verified"]
        return found

    def verify(
        self,
        data: Any = None,
        *,
        compiler: str | None = None,
        flags: Sequence[str] = ("-O2",),
        samples: int = 8,
        **reading: Unpack[DataKeywords],
    ) -> Verification:
        """Compile the network on this machine, and compare every tensor with the session.

        Parameters
        ----------
        data
            Data that `open_dataset` takes, or feeds of one run or of several, which are added to zeros, extremes and
            random codes; None for none. Pixels are read as the manifest records it.
        compiler
            Compiler; None for the first of gcc, clang and cc on the PATH.
        flags
            Flags that are added to those for C99 and warnings.
        samples
            Number of samples that are not of the data.
        reading
            `preprocessing`, `batch`, `limit` and `labels` of the data, see `open_dataset`.

        Raises
        ------
        OptionError
            If the folder was only read back, so that there is no session, or there is no such compiler.
        """
        if self._verifier is None:
            raise OptionError("a network that was read back has no session: verify what export_c returns")
        check_keywords("verify", reading, DataKeywords)
        recorded = self.manifest.get("preprocessing")
        if recorded is not None and not isinstance(data, Mapping | list | Dataset):
            reading.setdefault("preprocessing", Preprocessing.from_record(recorded))
        return self._verifier.run(data, compiler=compiler, flags=flags, samples=samples, reading=reading)
