"""Pack: a folder that `export_vectors` wrote, read back with checks."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from qengine.data.read import array_of
from qengine.deploy.vectors.schema import fault_of, manifest_schema
from qengine.errors import FeedError, did_you_mean
from qengine.input_files import read_input
from qengine.results import Record, Result

if TYPE_CHECKING:
    from qengine.runtime.session import InferenceSession

Array = NDArray[Any]

MANIFEST = "manifest.json"


def is_pack(folder: Path) -> bool:
    """Whether a folder is a pack, which another one may replace."""
    try:
        manifest = json.loads(read_input(folder / MANIFEST).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("generator") == "qengine"


@dataclass(frozen=True, repr=False)
class Pack(Result):
    """A pack on disk.

    Attributes
    ----------
    folder : the folder.
    manifest : content of `manifest.json`.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def summary(self) -> str:
        """The pack in one line."""
        tensors = self.manifest["tensors"]
        return f"pack of {len(tensors)} tensors in {self.folder}"

    def records(self) -> list[Record]:
        """Return a row for each tensor, as the manifest has it."""
        return [dict(one) for one in self.manifest["tensors"]]

    def record(self) -> Record:
        """Return the manifest."""
        return self.manifest

    @classmethod
    def read(cls, folder: str | os.PathLike[str], session: InferenceSession | None = None) -> Pack:
        """Return the pack in a folder.

        Parameters
        ----------
        folder
            The folder.
        session
            A session whose model and formats the pack must have; None for no such check.

        Raises
        ------
        FeedError
            If the folder holds no pack, a damaged one, or one of another model or of other formats.
        """
        path = Path(folder)
        try:
            manifest = json.loads(read_input(path / MANIFEST).decode("utf-8"))
        except OSError as error:
            raise FeedError(f"{folder} holds no pack: {MANIFEST}: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:
            raise FeedError(f"{folder}: {MANIFEST} cannot be read as JSON: {error}") from None
        if isinstance(manifest, dict) and manifest.get("schema") != manifest_schema()["properties"]["schema"]["const"]:
            raise FeedError(
                f"{folder}: the pack has schema {manifest.get('schema')!r}, this version of qengine reads 1"
            )
        if fault := fault_of(manifest, manifest_schema()):
            raise FeedError(f"{folder}: {fault}")
        pack = cls(path, manifest)
        if session is not None:
            pack.check(session)
        return pack

    def check(self, session: InferenceSession) -> None:
        """Raise FeedError unless the pack has the model, the formats and the rules of a session."""
        from qengine.deploy.vectors.describe import rules_as_json
        from qengine.deploy.vectors.manifest import formats_digest, model_digest

        found, expected = self.manifest["model"]["sha256"], model_digest(session)
        if found != expected:
            raise FeedError(f"{self.folder} is a pack of another model: {found[:12]}, expected {expected[:12]}")
        found, expected = self.manifest["formats"]["sha256"], formats_digest(session)
        if found != expected:
            other = self._other_format(session)
            raise FeedError(
                f"{self.folder} is a pack of other formats{other}: give those of the pack, or export it again"
            )
        rules = json.loads(json.dumps(rules_as_json(session.rules)))
        for name, value in rules.items():
            if self.manifest["rules"].get(name) != value:
                raise FeedError(
                    f"{self.folder} is a pack of other rules: {name} is {self.manifest['rules'].get(name)}, "
                    f"that of the session is {value}"
                )

    def _other_format(self, session: InferenceSession) -> str:
        from qengine.model.formats.files import format_to_json

        for name, fmt in session.formats.items():
            found = self.tensors.get(name, {}).get("format")
            if found is not None and found != format_to_json(fmt):
                return f": '{name}' is {found} in the pack, {format_to_json(fmt)} in the session"
        return ""

    @cached_property
    def samples(self) -> tuple[str, ...]:
        """The names of the runs: samples of data, then edge vectors."""
        return tuple(one["name"] for one in self.manifest["samples"])

    @cached_property
    def tensors(self) -> dict[str, dict[str, Any]]:
        """The descriptions of the tensors by name."""
        return {one["name"]: one for one in self.manifest["tensors"]}

    @cached_property
    def operators(self) -> dict[str, dict[str, Any]]:
        """The descriptions of the operators by name."""
        return {one["name"]: one for one in self.manifest["operators"]}

    def codes(self, sample: str, tensor: str) -> Array:
        """Return a tensor of a run: codes where it is in fixed point.

        Raises
        ------
        FeedError
            If the pack has no such run or tensor, or the file is missing, cut, or holds something else.
        """
        if sample not in self.samples:
            raise FeedError(f"{self.folder} has no sample '{sample}'; it has {', '.join(self.samples)}")
        if tensor not in self.tensors:
            raise FeedError(f"{self.folder} has no tensor '{tensor}'{did_you_mean(tensor, self.tensors)}")
        described = self.tensors[tensor]
        if described["file"] is None:
            raise FeedError(f"{self.folder} has no file for tensor '{tensor}': it was exported with other --fetch")
        return self.array(described["file"].replace("{sample}", sample), described["shape"], described["dtype"])

    def array(self, stem: str, shape: list[int] | None = None, dtype: str | None = None) -> Array:
        """Return the array of a file that the manifest names, checked against its checksum, shape and type."""
        path = self.folder / f"{stem}.npy"
        if ".." in Path(stem).parts or Path(stem).is_absolute():
            raise FeedError(f"{self.folder}: {MANIFEST} names '{stem}', which is outside of the folder")
        try:
            content = read_input(path)
        except (OSError, ValueError) as error:
            raise FeedError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        expected = self.manifest["checksums"].get(f"{stem}.npy")
        array = array_of(io.BytesIO(content), len(content), str(path))
        if (shape is not None and list(array.shape) != shape) or (dtype is not None and array.dtype.name != dtype):
            raise FeedError(f"{path} holds {array.dtype.name} {list(array.shape)}, the manifest says {dtype} {shape}")
        if expected != hashlib.sha256(content).hexdigest():
            raise FeedError(f"{path} is not the file that was exported: its checksum differs")
        return array

    def feeds(self, sample: str) -> dict[str, Array]:
        """Return the inputs of a run as codes, or as they were fed where they have no format."""
        return {name: self.codes(sample, name) for name in self.manifest["model"]["inputs"] if name in self.tensors}

    def check_files(self) -> None:
        """Read every .npy file and raise FeedError for the first that is missing or damaged."""
        for path in self.manifest["checksums"]:
            self.array(path.removesuffix(".npy"))

    @property
    def score(self) -> dict[str, Any]:
        """The mutation score."""
        score: dict[str, Any] = self.manifest["mutation_score"]
        return score
