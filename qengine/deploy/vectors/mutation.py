"""Mutation score: which faults of a device the vectors of a pack would detect.

Every fault that `compare` can name is a hypothesis: a function that computes an operator as a faulty device would. A
vector detects it if any code of the operator's output differs. A fault counts where it applies to the operator: it
has another bias, a pad, or a sum that leaves the faulty accumulator on some vector. Faults that no input can show are
left out where that is proven. What remains and is not detected is listed: a device with that fault passes the pack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses import Hypothesis, Operation, all_hypotheses
from qengine.deploy.vectors.equivalence import Proofs
from qengine.deploy.vectors.record import Operator

Array = NDArray[Any]

SOURCES = ("data", "edges", "operators")
"""Kinds of vectors: samples of data, searched inputs of the network, inputs of single operators."""

_MOST_WORK = 1 << 36
"""Multiplications that the faults of one operator may take."""

_TRIES = 4
"""Vectors on which a fault is tried that applies to none of them; only those of accumulators depend on codes."""


@dataclass(frozen=True)
class Counts:
    """Faults of one or all operators.

    Attributes
    ----------
    applicable : number of faults that apply.
    detected : number of those that are detected, by the kinds of vectors up to one kind, in the order of `SOURCES`.
    """

    applicable: int
    detected: tuple[int, ...]

    @property
    def scores(self) -> tuple[float, ...]:
        """The detected shares."""
        return tuple(1.0 if not self.applicable else d / self.applicable for d in self.detected)


@dataclass
class Faults:
    """Faults of one operator, and which vectors detect them.

    Attributes
    ----------
    operator : the operator.
    work : multiplications of one run of it.
    detected : kind of the first vectors that detect a fault, by the fault's name.
    missed : faults that apply and that no vector so far detects.
    sentences : description of each fault by its name.
    """

    operator: Operator
    work: int
    detected: dict[str, str] = field(default_factory=dict)
    missed: set[str] = field(default_factory=set)
    sentences: dict[str, str] = field(default_factory=dict)
    _spent: int = 0
    _absent: dict[str, int] = field(default_factory=dict)
    _hidden: set[str] = field(default_factory=set)

    def try_vector(
        self,
        operands: Sequence[Array],
        output: Array,
        source: str,
        before: tuple[Sequence[Array | None], Array | None] | None = None,
    ) -> bool:
        """Run the faults that are not detected yet on one vector, and return whether it detects one.

        Parameters
        ----------
        operands, output
            Arrays that the operator reads, and the one that it computes.
        source
            Kind of the vector, of `SOURCES`.
        before
            Operands and output of the sample before; None where there is none.
        """
        bound_step = self.operator.bound_step
        if bound_step is None or bound_step.arithmetic is None or bound_step.output.format is None:
            return False
        previous, previous_output = before or ((), None)
        operation = Operation(bound_step, tuple(operands), tuple(previous), previous_output)
        is_new = False
        for hypothesis in all_hypotheses():
            if hypothesis.name in self.detected or hypothesis.name in self._hidden or self._spent > _MOST_WORK:
                continue
            if self._absent.get(hypothesis.name, 0) > _TRIES and hypothesis.family != "accumulator":
                continue
            if hypothesis.family == "target":  # many rules at once, each of which is a fault by itself
                continue
            with np.errstate(all="ignore"):
                codes = hypothesis.codes(operation)
            if codes is None:
                self._absent[hypothesis.name] = self._absent.get(hypothesis.name, 0) + 1
                continue
            self._spent += self.work if hypothesis.is_structural else output.size
            self.sentences.setdefault(hypothesis.name, _sentence(hypothesis, operation))
            if codes.shape != output.shape or not np.array_equal(codes, output):
                self.detected[hypothesis.name] = source
                self.missed.discard(hypothesis.name)
                is_new = True
            else:
                self.missed.add(hypothesis.name)
        return is_new

    def drop_hidden(self, proofs: Proofs) -> None:
        """Leave out faults of which it is proven that no input of the operator shows them, from now on too."""
        self._hidden = proofs.hidden([h for h in all_hypotheses() if h.name not in self.detected])
        self.missed -= self._hidden

    def counts(self) -> Counts:
        """Return the numbers of faults."""
        return counts_of([self])


def _sentence(hypothesis: Hypothesis, operation: Operation) -> str:
    arithmetic = operation.arithmetic
    return hypothesis.sentence.format(rounding=arithmetic.rounding.value, overflow=arithmetic.overflow.value)


def counts_of(all_faults: Sequence[Faults]) -> Counts:
    """Return the numbers of faults of some operators together."""
    applicable = sum(len(f.detected) + len(f.missed) for f in all_faults)
    detected, so_far = [], 0
    for source in SOURCES:
        so_far += sum(1 for f in all_faults for by in f.detected.values() if by == source)
        detected.append(so_far)
    return Counts(applicable, tuple(detected))


def score_as_json(all_faults: Mapping[str, Faults]) -> dict[str, Any]:
    """Return the score for the manifest: in total and by operator, with what is not detected."""
    return {
        **_shares(counts_of(list(all_faults.values()))),
        "operators": {
            name: {
                **_shares(faults.counts()),
                "not_detected": {one: faults.sentences[one] for one in sorted(faults.missed)},
            }
            for name, faults in all_faults.items()
            if faults.detected or faults.missed
        },
    }


def _shares(counts: Counts) -> dict[str, Any]:
    return {
        "faults": counts.applicable,
        "detected_by_data": counts.detected[0],
        "detected_with_edges": counts.detected[1],
        "detected_with_operator_vectors": counts.detected[2],
    }
