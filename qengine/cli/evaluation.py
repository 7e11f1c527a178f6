"""`qengine run --data`: a model on all samples of a data set, in fixed point and in float32."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.evaluation import evaluate
from qengine.analysis.paired_run import ComparedOutput
from qengine.atomic_files import check_writable
from qengine.cli import options
from qengine.cli.options.fail_under import answer
from qengine.cli.output.evaluation import EvaluationResult, as_json, as_tables
from qengine.cli.output.progress import progress
from qengine.cli.raw_outputs import check_raw, write_formats
from qengine.data.preprocessing import Preprocessing
from qengine.data.write import write_outputs
from qengine.errors import OptionError
from qengine.runtime.session import InferenceSession

_ENDINGS = (".npz", ".npy")


@dataclass(frozen=True)
class SavedOutputs:
    """Outputs of all samples, which are written to a file at the end.

    Attributes
    ----------
    path : file to write; None for none.
    codes : whether integer codes are kept, and not real numbers.
    """

    path: Path | None
    codes: bool
    _arrays: dict[str, list[NDArray[Any]]] = field(default_factory=dict)

    def check(self, session: InferenceSession) -> None:
        """Raise OptionError, before the first run, for outputs that could not be saved after the last."""
        if self.codes:
            check_raw(self.path, session)
        if self.path is None:
            return
        if self.path.suffix.lower() not in _ENDINGS:
            raise OptionError(f"cannot write {self.path}: outputs of all samples are saved as .npz, or one as .npy")
        check_writable(self.path)

    def add(self, outputs: Mapping[str, ComparedOutput]) -> None:
        """Keep the outputs of a run, unless there is no file for them."""
        if self.path is not None:
            for name, one in outputs.items():
                self._arrays.setdefault(name, []).append(np.array(one.codes if self.codes else one.real))

    def write(self, session: InferenceSession) -> tuple[str, ...]:
        """Write the outputs, the samples along the first axis, and return the paths."""
        if self.path is None:
            return ()
        write_outputs(self.path, {n: _joined(self.path, n, all_) for n, all_ in self._arrays.items()}, Preprocessing())
        if not self.codes:
            return (str(self.path),)
        return str(self.path), str(write_formats(self.path, self._arrays, session))


def _joined(path: Path, name: str, arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the arrays of all runs as one."""
    if len(arrays) == 1:
        return arrays[0]
    shapes = {array.shape[1:] if array.ndim else None for array in arrays}
    if len(shapes) > 1 or None in shapes:
        found = " and ".join(str(list(array.shape)) for array in arrays[:2])
        raise OptionError(f"cannot write {path}: '{name}' is not the same shape for all samples, but {found}")
    return np.concatenate(arrays)


def evaluate_data(
    model: str,
    session: InferenceSession,
    source: options.DataOptions,
    saved: SavedOutputs,
    fixed: options.FixedPointOptions,
    failing: options.ThresholdOptions,
    *,
    fetch: list[str] | None,
    max_elements: int,
    json: bool,
    quiet: bool,
) -> str:
    """Return what `qengine run MODEL --data DATA` prints."""
    thresholds = failing.thresholds()
    saved.check(session)
    assert source.data is not None
    base = source.base(model, session.graph, fixed.formats)
    dataset = source.open(source.data, base, session.graph, max_elements, several=True)
    pixels = source.applied(base, session.graph, dataset)
    found = evaluate(
        session,
        dataset,
        outputs=fetch,
        metrics=[one.metric.name for one in thresholds],
        collect=saved.add,
        progress=lambda name, total: progress(f"{model}: {name}", total, quiet=quiet),
    )
    result = EvaluationResult(model, fixed, session, found, pixels, saved.write(session))
    return answer((as_json if json else as_tables)(result), found.shortfalls(thresholds))
