"""Subject: what a dump is compared with, a model in fixed point and the codes that it computes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import DumpError, OptionError, UnsupportedError
from qengine.kernels.reference.requantize import dequantize, quantize
from qengine.model.ops.operator import NeedsRun
from qengine.model.steps import Tensor
from qengine.qformat import fraction_bits_of
from qengine.runtime.plan.plan import BoundStep, Plan
from qengine.runtime.session import InferenceSession

Array = NDArray[Any]
Feeds = Mapping[str, Any]


@dataclass(eq=False)
class Subject:
    """A model in fixed point, and the inputs on which a device may have run.

    Attributes
    ----------
    session : the model.
    samples : feeds of each sample; empty where only the dump has the inputs.
    labels : name of each sample in messages.
    aliases : names by which a dump may call tensors, and the model's names.
    """

    session: InferenceSession
    samples: Sequence[Feeds] = ()
    labels: Sequence[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    _references: dict[tuple[int, tuple[str, ...]], Reference] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.session.in_fixed_point:
            raise OptionError("a dump is compared with codes of fixed point: give a --qformat or --formats")

    def reference(self, index: int, fused: Sequence[str] = ()) -> Reference:
        """Return the codes of a sample, computed on first use; `fused` names tensors that passes removed."""
        key = (index, tuple(fused))
        if key not in self._references:
            while len(self._references) > 2:  # the codes of a sample may be large
                del self._references[next(iter(self._references))]
            self._references[key] = Reference.of(self.session, self.samples[index], fused)
        return self._references[key]

    def removed(self, reference: Reference) -> frozenset[str]:
        """Return the names of real tensors that a run does not compute, as passes fused their operators."""
        network = self.session.network
        made = {name for graph in (network.source, network.model) for node in graph.nodes for name in node.outputs}
        formats = self.session.formats
        return frozenset(name for name in made if name in formats and name not in reference.tensors)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all tensors of the model, also of those that passes remove."""
        network = self.session.network
        return frozenset(network.source.tensors() | network.model.tensors())


@dataclass(eq=False)
class Reference:
    """The codes that a model computes of one sample.

    Attributes
    ----------
    plan : steps of the run.
    arrays : inputs as the steps read them, and outputs of the steps, by name.
    before : input of the activation that was fused into the operator of each name.
    """

    plan: Plan
    arrays: dict[str, Array]
    before: Mapping[str, str]

    @classmethod
    def of(cls, session: InferenceSession, feeds: Feeds, fused: Sequence[str] = ()) -> Reference:
        """Compute the codes of feeds.

        Raises
        ------
        UnsupportedError
            If the data decides how a run continues, so that there is no single plan.
        """
        arrays = session.check_feeds(feeds)
        try:
            plain = session.plan(arrays)
            network = session.network
            known = network.source.tensors() | network.model.tensors()
            names = [s.output.name for s in plain.steps if s.output.name in known]
            names = list(dict.fromkeys((*(v.name for v in session.graph.outputs), *names, *fused)))
            plan = session.plan(arrays, names)
        except NeedsRun as error:
            raise UnsupportedError(f"compare needs a model whose operators are known before a run: {error}") from None
        found = dict(zip(names, session.run(names, feeds, raw=True), strict=True))
        for tensor in plan.inputs:
            fed = arrays[tensor.name]
            if tensor.format is None or plan.fixed is None:
                found[tensor.name] = fed
            else:
                modes = plan.fixed.rules.modes("inputs", tensor.name)
                found[tensor.name] = quantize(fed, tensor.fraction_bits, modes.word(tensor.one_format))
        reference = cls(plan, found, _before(session, plan))
        reference._complete()
        return reference

    def _complete(self) -> None:
        """Compute the tensors of the plan that have no name in the model."""
        for step in self.plan.steps:
            if step.output.name not in self.arrays:
                self.arrays[step.output.name] = compute(step, self.arrays)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The inputs and the outputs of the steps, each after all that it is computed from.

        A plan has tensors that passes removed at its end; here they stand before what was fused with them.
        """
        found = {t.name: t for t in self.plan.inputs}
        for last in self.plan.steps:
            waiting = [last.output.name]
            while waiting:
                name = waiting[-1]
                step = self.steps.get(name)
                reads = [] if step is None else [*step.reads, self.before.get(name, "")]
                missing = [n for n in reads if n in self.steps and n not in found and n not in waiting]
                if missing:
                    waiting += missing
                    continue
                waiting.pop()
                if step is not None:
                    found.setdefault(name, step.output)
        return found

    @cached_property
    def steps(self) -> dict[str, BoundStep]:
        """The steps by the name of their output."""
        return {s.output.name: s for s in self.plan.steps}


def compute(step: BoundStep, arrays: Mapping[str, Array]) -> Array:
    """Return the output of a step from arrays by name."""
    return np.asarray(step.kernel(*[arrays[s] if isinstance(s, str) else s for s in step.sources]))


def _before(session: InferenceSession, plan: Plan) -> dict[str, str]:
    """Return the input of each activation that was fused into an operator, by the name of the result."""
    activations = {"Relu", "Clip"}
    made = {node.outputs[0]: node for node in session.graph.nodes if node.operator in activations and node.outputs}
    fused = {s.output.name for s in plan.steps if getattr(s.step, "activation", None) is not None}
    return {name: made[name].inputs[0] for name in fused if name in made}


def feeds_of_codes(tensors: Sequence[Tensor], codes: Mapping[str, Array]) -> dict[str, Array]:
    """Return feeds that a run quantizes to codes.

    Raises
    ------
    DumpError
        If codes of an input are missing.
    """
    feeds = {}
    for tensor in tensors:
        if tensor.name not in codes:
            raise DumpError(
                f"the dump has no input '{tensor.name}': give it with -i {shlex.quote(tensor.name)}=FILE, or --data"
            )
        array = codes[tensor.name]
        if tensor.format is not None:
            array = dequantize(array.astype(np.int32), fraction_bits_of(tensor.format, array.ndim))
        feeds[tensor.name] = array.astype(tensor.dtype)
    return feeds
