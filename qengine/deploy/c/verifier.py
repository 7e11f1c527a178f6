"""Verifier: what `CProject.verify` needs of an export: the session, the network and its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from qengine.checks import check_whole_number
from qengine.data.datasets import DataKeywords, Dataset, open_dataset, runs_of
from qengine.deploy.c.golden import Arrays, Golden, Sample, extreme_samples, random_samples
from qengine.deploy.c.ir import CNetwork
from qengine.deploy.c.verify import Compiler, Verification, find_compiler, verify
from qengine.errors import OptionError

_MOST_SAMPLES = 1000


@dataclass(frozen=True)
class Verifier:
    """A network in C with its session.

    Attributes
    ----------
    golden, network : session and network.
    name, files : prefix, and files as text by name.
    given : codes of the samples that the user gave.
    fixed : feeds that are constants of the network.
    held : bytes of weights and tables in the source.
    """

    golden: Golden
    network: CNetwork
    name: str
    files: Mapping[str, str]
    given: Sequence[Arrays]
    fixed: Mapping[str, Any]
    held: int

    def run(
        self,
        data: Any = None,
        *,
        compiler: str | None = None,
        flags: Sequence[str] = ("-O2",),
        samples: int = 8,
        reading: DataKeywords | None = None,
    ) -> Verification:
        """Compile the network and compare every tensor; see `CProject.verify`."""
        check_whole_number("samples", samples, 0, _MOST_SAMPLES)
        found = find_compiler() if compiler is None else find_compiler((compiler,))
        if found is None and compiler is not None:
            raise OptionError(f"there is no compiler '{compiler}' on the PATH")
        if found is None:
            return Verification(None)
        return self.with_compiler(found, flags, self.samples(data, samples, reading))

    def with_compiler(self, compiler: Compiler, flags: Sequence[str], samples: Sequence[Sample]) -> Verification:
        """Compile the network with a compiler and compare every tensor on samples."""
        return verify(self.network, self.name, self.files, self.golden, samples, compiler, flags)

    def samples(self, data: Any = None, count: int = 8, reading: DataKeywords | None = None) -> list[Sample]:
        """Return the samples of a verification: those that the user gave, and others."""
        extra = () if data is None else self._runs(data, reading)
        codes = [*self.given, *(self.golden.codes_of({**self.fixed, **one}) for one in extra)]
        own = [Sample(f"sample {i} of the data", one) for i, one in enumerate(codes)]
        first = codes[0] if codes else None
        others = extreme_samples(self.golden.inputs, first)[:count]
        random = random_samples(self.golden.inputs, first)
        return [*own, *others, *islice(random, max(0, count - len(others)))]

    def _runs(self, data: Any, reading: DataKeywords | None) -> Iterable[Mapping[str, Any]]:
        """Return the feeds of the runs on data, which need not have the inputs that are constants of the network."""
        is_runs = isinstance(data, list) and all(isinstance(one, Mapping) for one in data)
        inputs = {one.name for one in self.golden.inputs}
        fixed = {name: value for name, value in self.fixed.items() if name not in inputs}
        if not fixed or is_runs or isinstance(data, Mapping | Dataset):
            return runs_of(data, self.golden.session, reading)
        return open_dataset(data, self.golden.session, fixed=fixed, **(reading or {}))
