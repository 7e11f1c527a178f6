"""Nodes with arrays for their inputs, one for each reference case and handler, for tests of declared facts."""

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from qengine.errors import UnsupportedError
from qengine.model.graph import Node
from qengine.model.ops.binding import make_steps
from qengine.model.ops.operator import Role, find
from qengine.model.steps import Tensor

from . import __path__ as here
from .cases import i64, real

WITHOUT_CASES = {"samples", "test_facts", "test_filters"}
"""Modules that cannot be imported for their cases, as they import this one."""


@dataclass
class Sample:
    """One node with arrays for its inputs."""

    operator: str
    arrays: list[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    version: int = 17
    domain: str = ""
    outputs: int = 1

    @property
    def node(self):
        names = tuple("" if a is None else f"x{i}" for i, a in enumerate(self.arrays))
        outputs = tuple(f"y{i}" for i in range(self.outputs))
        attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in self.attributes.items()}
        return Node(self.operator, names, outputs, attributes, "node", self.domain, self.version)

    @property
    def op(self):
        return find(self.node)

    @property
    def constants(self):
        """The inputs whose elements the handler itself reads."""
        return {name: array for name, array in self.by_name().items() if self.role(name) is Role.KNOWN}

    def by_name(self):
        return {f"x{i}": a for i, a in enumerate(self.arrays) if a is not None}

    def role(self, name):
        return dict(self.op.roles(self.node))[name]

    def numbers(self):
        """Names of the inputs that hold data."""
        return [n for n in self.by_name() if self.role(n) in (Role.DATA, Role.WEIGHTS, Role.BIAS)]

    def steps(self):
        known = self.constants
        tensors = {n: Tensor(n, a.dtype, a.shape, known.get(n)) for n, a in self.by_name().items()}
        return make_steps(self.node, tensors.__getitem__)

    def run(self, changed):
        """Return the outputs with some inputs changed."""
        arrays = {**self.by_name(), **changed}
        with np.errstate(all="ignore"):
            return [step.float32()(*(arrays[t.name] for t in step.operands)) for step in self.steps()]


def samples():
    names = [module.name for module in pkgutil.iter_modules(here) if module.name not in WITHOUT_CASES]
    modules = [importlib.import_module(f".{name}", __package__) for name in names]
    for case in [case for module in modules for case in getattr(module, "CASES", [])]:
        handlers = {}
        for version in case.versions():
            one = Sample(case.operator, list(case.inputs), dict(case.attributes), version, outputs=case.outputs)
            handlers[id(one.op)] = one
        for one in handlers.values():
            if one.op.is_delegated:
                continue
            try:
                one.steps()
            except UnsupportedError:  # which runs by itself
                continue
            yield one
    for axes in ([2, 3], [-1, -2], [3]):
        for keepdims in (0, 1):
            yield Sample("ReduceMean", [real(2, 3, 4, 5)], {"axes": axes, "keepdims": keepdims})
            yield Sample("ReduceMean", [real(2, 3, 4, 5), i64(*axes)], {"keepdims": keepdims}, 18)
        yield Sample("Squeeze", [real(2, 3, 1, 1)], {"axes": axes}, 11)
        yield Sample("Squeeze", [real(2, 3, 1, 1), i64(*axes)])
    yield Sample("Logistic", [real(3, 4)], {"alpha": -2.0}, 1, "qengine")
    yield Sample("MatMul", [real(2, 3, 4), real(4, 5), real(5, seed=1)], {}, 1, "qengine")
    yield Sample("ScaleShift", [real(2, 3, 4), real(3), real(3, seed=1)], {}, 1, "qengine")
    yield Sample("RowScaleShift", [real(2, 3, 4), real(4), real(4, seed=1)], {}, 1, "qengine")


SAMPLES = list(samples())


def for_samples(is_so):
    """Make a test of one sample a test of each operator, on all samples of it that are so."""
    found = {}
    for sample in SAMPLES:
        if is_so(sample):
            found.setdefault(sample.operator, []).append(sample)

    def decorate(check):
        @pytest.mark.parametrize("operator", found)
        def test(operator):
            for sample in found[operator]:
                check(sample)

        return test

    return decorate


def is_real(sample):
    return sample.arrays[0].dtype.kind == "f" and all(array.size for array in sample.arrays if array is not None)
