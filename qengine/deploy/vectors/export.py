"""Golden packs: every tensor of a model on some samples, as a hardware team needs it, and vectors that can fail.

A pack is a folder. `manifest.json` describes it; docs/how-to/vectors.md says what the other files are. The same model,
options and samples give the same bytes.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from qengine.atomic_files import check_folder, replacing_folder
from qengine.data.applied import base_of_session
from qengine.data.datasets import ReadingKeywords, data_keywords, runs_of
from qengine.data.preprocessing import Preprocessing
from qengine.deploy.vectors.benches import write_benches
from qengine.deploy.vectors.coverage import Coverage, coverage_of, is_elementwise
from qengine.deploy.vectors.edges import EdgeSearch
from qengine.deploy.vectors.equivalence import Proofs
from qengine.deploy.vectors.files import Files
from qengine.deploy.vectors.manifest import Vectors, write_manifest
from qengine.deploy.vectors.mutation import Faults
from qengine.deploy.vectors.operator_vectors import OperatorVector, operator_vectors, random_operands
from qengine.deploy.vectors.options import VectorKeywords, VectorOptions
from qengine.deploy.vectors.pack import Pack, is_pack
from qengine.deploy.vectors.reach import Reach, reach_of
from qengine.deploy.vectors.record import Operator, Recorder
from qengine.deploy.vectors.sums import sums_of
from qengine.deploy.vectors.taps import Taps, taps_of
from qengine.errors import FeedError, OptionError, did_you_mean
from qengine.keywords import check_keywords, options_with
from qengine.model.steps import Linear, Step
from qengine.progress import working
from qengine.runtime.session import InferenceSession

Array = NDArray[Any]

_MOST_TRIED = 32
"""Candidates of the search for edges that are tried for faults too."""


class ExportKeywords(VectorKeywords, ReadingKeywords, total=False):
    """The fields of `VectorOptions`, and how data is read, as keyword arguments."""


def export_vectors(
    session: InferenceSession,
    data: Any,
    folder: str | os.PathLike[str],
    options: VectorOptions | None = None,
    *,
    source: str = "feeds",
    preprocessing: Preprocessing | None = None,
    **keywords: Unpack[ExportKeywords],
) -> Pack:
    """Write a pack, whole or not at all, and return it.

    Parameters
    ----------
    session
        A session in fixed point.
    data
        Data that `open_dataset` takes. An array for every input, or several such mappings, are fed unchanged: one for
        each sample.
    folder
        Folder to write. A pack that is there is replaced; a folder that holds anything else is refused.
    options
        Kinds of files, layout and searches; None for the defaults.
    source
        Text that says where the samples are from, for the manifest.
    preprocessing
        Conversion of pixels to the numbers of the inputs, for the manifest; None for what the model's file records.
    keywords
        Single fields of `VectorOptions`, such as ``kinds="npy,hex"``. They replace those of `options`. And
        `batch`, `limit` and `labels` of the data, see `open_dataset`.

    Returns
    -------
    Pack
        The folder that was written.

    Raises
    ------
    QEngineError
        If the session runs in float32, a feed does not fit, a tensor does not exist, or the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import qengine
    >>> session = qengine.InferenceSession(qengine.zoo.path_of("digits"), qformat="Q4.3")
    >>> folder = tempfile.mkdtemp()
    >>> pack = qengine.export_vectors(session, {"image": np.zeros((1, 1, 28, 28), np.float32)}, folder, edges=2)
    >>> pack.samples
    ('s0', 'e0', 'e1')
    >>> pack.codes("e0", "logits").dtype
    dtype('int8')
    """
    check_keywords("export_vectors", keywords, ExportKeywords)
    wanted = options_with(VectorOptions, options, keywords)
    samples = list(runs_of(data, session, data_keywords({**keywords, "preprocessing": preprocessing})))
    if not samples:
        raise FeedError("there are no samples: give the feeds of one run or more")
    check_folder(folder, is_pack)
    export = _Export(session, samples, wanted)
    with session.limited():
        vectors = export.vectors(source)
    with replacing_folder(folder, is_pack) as temporary:
        files = Files(temporary, wanted)
        write_manifest(vectors, files, write_benches, preprocessing or base_of_session(session).recorded)
    return Pack.read(folder)


@dataclass
class _Export:
    session: InferenceSession
    samples: list[Mapping[str, Any]]
    options: VectorOptions

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.session, self.samples[0])
        self._check_tensors()
        shapes = {name: np.shape(array) for name, array in self.samples[0].items()}
        for i, sample in enumerate(self.samples):
            other = {name: np.shape(array) for name, array in sample.items()}
            if other != shapes:
                raise FeedError(f"sample {i} has the shapes {other}, the first one {shapes}: give samples of one shape")

    def _check_tensors(self) -> None:
        names = [*self.recorder.all_names, *self.recorder.tensors]
        for name in self.options.fetch or ():
            if name not in names:
                raise OptionError(f"the model has no tensor '{name}'{did_you_mean(name, names)}")

    def vectors(self, source: str) -> Vectors:
        """Run all samples and searches."""
        with working("running samples"):
            first = self.recorder.run(self.samples[0])
            self.fixed = [o for o in self.recorder.operators if o.bound_step and o.bound_step.arithmetic]
            self._reach_all(first)
            shown = {o.name: Coverage() for o in self.recorder.operators}
            faults = {o.name: Faults(o, self.works[o.name]) for o in self.fixed}
            self._try(self.samples, "data", shown, faults)
        by_data = {name: coverage.as_json() for name, coverage in shown.items()}
        with working("searching edge vectors"):
            edges = self._edges(shown, faults)
        by_edges = {name: coverage.as_json() for name, coverage in shown.items()}
        self._drop_hidden(first, faults)
        single: dict[str, list[OperatorVector]] = {}
        by_operators: dict[str, dict[str, Any]] = {}
        if self.options.operator_vectors:
            with working("searching vectors of operators|operators", len(self.fixed)) as advance:
                for i, operator in enumerate(self.fixed):
                    single[operator.name], coverage = self._operator_vectors(i, operator, first, faults[operator.name])
                    by_operators[operator.name] = coverage.as_json()
                    advance(1)
        for operator in self.fixed:
            assert operator.bound_step is not None
            if _has_every_code(operator.bound_step.step, single.get(operator.name, ())):
                faults[operator.name].missed.clear()  # no other input is left
        return Vectors(
            self.recorder,
            self.options,
            [*((f"s{i}", f, f"{source} {i}") for i, f in enumerate(self.samples))],
            [*((f"e{i}", f, words) for i, (f, words) in enumerate(edges))],
            single,
            self.reach,
            (by_data, by_edges, by_operators),
            faults,
        )

    def _drop_hidden(self, arrays: Mapping[str, Array], faults: dict[str, Faults]) -> None:
        """Leave out faults that no input shows."""
        for operator in self.fixed:
            assert operator.bound_step is not None
            operands = operator.operands(arrays)
            sums, random = (
                sums_of(operator.bound_step, operands),
                random_operands(operator, operands, self.options.seed),
            )
            reach, taps = self.reach[operator.name], self.taps.get(operator.name)
            faults[operator.name].drop_hidden(Proofs(operator.bound_step, sums, reach, taps, random))

    def _reach_all(self, arrays: Mapping[str, Array]) -> None:
        self.taps: dict[str, Taps] = {}
        self.reach: dict[str, Reach] = {o.name: Reach() for o in self.recorder.operators}
        self.works: dict[str, int] = {}
        for operator in self.recorder.operators:
            self.works[operator.name] = _work(operator)
        for operator in self.fixed:
            assert operator.bound_step is not None
            taps = taps_of(operator.bound_step)
            if taps is not None:
                self.taps[operator.name] = taps
            sums = sums_of(operator.bound_step, operator.operands(arrays))
            self.reach[operator.name] = reach_of(operator.bound_step, sums, taps)

    def _try(
        self, runs: Iterable[Mapping[str, Any]], source: str, shown: dict[str, Coverage], faults: dict[str, Faults]
    ) -> list[bool]:
        """Run some feeds, add what they show, and return which of them detect a fault."""
        before: Mapping[str, Array] | None = None
        detects = []
        for feeds in runs:
            arrays = self.recorder.run(feeds)
            is_new = False
            for operator in self.fixed:
                assert operator.bound_step is not None
                operands, output = operator.operands(arrays), arrays[operator.output.name]
                shown[operator.name].add(coverage_of(operator.bound_step, operands))
                previous = None
                if before is not None:
                    previous = operator.operands(before), before[operator.output.name]
                is_new |= faults[operator.name].try_vector(operands, output, source, previous)
            detects.append(is_new)
            before = arrays
        return detects

    def _edges(self, shown: dict[str, Coverage], faults: dict[str, Faults]) -> list[tuple[Mapping[str, Any], str]]:
        if not self.options.edges:
            return []
        work = sum(self.works.values())
        random = np.random.default_rng(self.options.seed)
        search = EdgeSearch(self.recorder, self.reach, self.taps, work, copy.deepcopy(shown), random)
        found = search.run(self.samples, self.options.edges)
        self._try([feeds for feeds, _ in found], "edges", shown, faults)
        for feeds, source in search.tried[:_MOST_TRIED]:
            if len(found) < self.options.edges and not any(feeds is other for other, _ in found):
                (detects,) = self._try([feeds], "edges", shown, faults)
                found += [(feeds, source)] if detects else []
        return found

    def _operator_vectors(
        self, number: int, operator: Operator, arrays: Mapping[str, Array], faults: Faults
    ) -> tuple[list[OperatorVector], Coverage]:
        def detects_more(operands: tuple[Array, ...], output: Array) -> bool:
            return faults.try_vector(operands, output, "operators")

        return operator_vectors(
            operator,
            operator.operands(arrays),
            self.taps.get(operator.name),
            self.works[operator.name],
            detects_more,
            self.options.seed + number,
        )


def _has_every_code(step: Step, vectors: Sequence[OperatorVector]) -> bool:
    """Whether vectors of a function of one code have all of its codes."""
    if not is_elementwise(step) or not vectors:
        return False
    place = next(i for i, t in enumerate(step.operands) if t.value is None)
    seen = np.unique(np.concatenate([np.unique(one.operands[place]) for one in vectors]))
    return len(seen) == 1 << step.operands[place].one_format.bits


def _work(operator: Operator) -> int:
    """Return about the number of operations of an operator."""
    step = operator.bound_step.step if operator.bound_step else None
    size = max(1, prod(operator.output.shape))
    if isinstance(step, Linear):
        return size * max(1, prod(step.w.shape[axis] for axis in step.summed))
    return size
