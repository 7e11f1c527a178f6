"""The state of the planner: what it knows of every tensor, and the steps that it has bound; see `planner`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import UnsupportedError
from qengine.kernels.reference.requantize import dequantize
from qengine.model.eager import single_node
from qengine.model.graph import Graph, Node
from qengine.model.ops.binding import make_steps
from qengine.model.ops.operator import NeedsRun, Role, find
from qengine.model.rules import AccumulatorRule, Arithmetic, BiasRule
from qengine.model.schemas import is_defined
from qengine.model.static_values import may_be_known
from qengine.model.steps import (
    Convert,
    Evaluation,
    Island,
    Join,
    Kernel,
    Linear,
    Move,
    Rounded,
    Rows,
    Step,
    Tensor,
    codes_of,
)
from qengine.model.steps.forms import Concatenated
from qengine.qformat import PartFormats, QFormat, joined_format
from qengine.runtime.plan.evaluation_rules import with_rule
from qengine.runtime.plan.lifetimes import most_bytes, with_lifetimes
from qengine.runtime.plan.plan import BoundStep, FixedPointSettings, Plan
from qengine.runtime.plan.unrounded_bias import with_unrounded_bias


class Branches(Protocol):
    """Function that returns a branch of an If, after the passes."""

    def __call__(
        self, node: Node, attribute: str, captured: Mapping[str, Tensor], constants: Mapping[str, NDArray[Any]]
    ) -> Graph:
        """Return the graph in an attribute, given the tensors and the constants around the node that it reads."""


class PlanBuilder:
    """State of the planner while it binds the nodes of a graph one after the other.

    Attributes
    ----------
    tensors : tensors that constants, inputs and nodes have defined so far, by name.
    encoded : constants in fixed point that bound steps read, by name.
    inputs : inputs that are not known.
    steps, islands : steps that are bound, and the nodes of those that are float32 islands.
    shape_deciding : names of the inputs that decide shapes, and of what was computed from them.
    known_bytes : size of the constants, and of what was computed from them.
    """

    def __init__(
        self, graph: Graph, fixed: FixedPointSettings | None, max_elements: int, branches: Branches | None
    ) -> None:
        self.graph, self.fixed, self.max_elements, self.branches = graph, fixed, max_elements, branches
        self.constants = dict(graph.constants)
        self.is_partial = fixed is not None and fixed.formats.is_partial
        # A constant that a pass computed has the name of the model's constant that it was computed from.
        self.tensors = {
            name: Tensor(graph.derived.get(name, name), a.dtype, a.shape, a, stored=graph.stored_of(name))
            for name, a in graph.constants.items()
        }
        self.encoded: dict[str, Tensor] = {}
        self.inputs: list[Tensor] = []
        self.steps: list[BoundStep] = []
        self.islands: list[Node] = []
        self.shape_deciding: set[str] = set()
        self.known_bytes = sum(array.nbytes for array in graph.constants.values())

    def declare_input(self, name: str, tensor: Tensor) -> None:
        """Add an input, with its elements where the plan depends on them."""
        self._check_size(tensor.shape, f"input '{name}'")
        if tensor.value is None:
            # An input that the model declares without a type gets its type only here.
            known = self.fixed.formats.activations if self.fixed and tensor.is_float else {}
            encoding = self.fixed.rules.constants if self.fixed else tensor.encoding
            tensor = replace(tensor, format=known.get(name), encoding=encoding)
            self.inputs.append(tensor)
        else:
            self.shape_deciding.add(name)
        self.tensors[name] = tensor

    def add(self, node: Node) -> None:
        """Bind or compute a node.

        Raises
        ------
        NeedsRun
            If it cannot be planned before others have run.
        QEngineError
            If its inputs do not fit it, or a tensor is too large.
        """
        if node.operator == "If" and not node.domain and self.fixed is None and self.branches is not None:
            self._add_branch(node, self.branches)
            return
        if find(node).is_delegated:
            self._delegate(node)
            return
        if self._is_power_by_tensor(node) and self._add_evaluation(node):
            return
        try:
            steps = make_steps(node, lambda name: self._operand(name, node))
        except NeedsRun:
            raise
        except UnsupportedError as error:
            if not is_defined(node):
                raise
            if not self._is_computed(node):  # an evaluator may compute what the handler refuses
                self._delegate(node)
                return
            if not self._add_evaluation(node):
                raise NeedsRun(str(error)) from None
            return
        self._add_steps(node, steps)

    def _is_power_by_tensor(self, node: Node) -> bool:
        """Whether a node in float32 is a Pow by exponents that are not known: no shape and no table depends on them."""
        tensors = [self.tensors.get(name) for name in node.inputs]
        if self.fixed is not None or node.operator != "Pow" or node.domain or len(tensors) != 2:
            return False
        x, exponent = tensors
        return x is not None and exponent is not None and exponent.value is None and prod(exponent.shape) != 1

    def _add_branch(self, node: Node, branches: Branches) -> None:
        """Plan the nodes of the branch of an If that its condition chooses."""
        condition = self.tensors.get(node.inputs[0]) if node.inputs else None
        if condition is None or condition.value is None or condition.value.size != 1:
            raise NeedsRun(f"{node} runs by itself")
        attribute = "then_branch" if condition.value.item() else "else_branch"
        if attribute not in node.graphs or not self.tensors.keys() >= set(node.captures):
            raise NeedsRun(f"{node} runs by itself")
        read = {name: self.tensors[name] for name in node.captures}
        constants = {name: self.constants[name] for name in node.captures if name in self.constants}
        branch = branches(node, attribute, read, constants)
        own = {name: array for name, array in branch.constants.items() if name not in constants}
        made = {name for inner in branch.nodes for name in inner.outputs if name} | own.keys()
        if made & self.tensors.keys() or len(branch.outputs) < len(node.outputs):
            raise NeedsRun(f"{node} runs by itself")  # names of a branch hold in the branch only
        before = self.constants.copy(), self.tensors.copy(), self.steps.copy(), self.shape_deciding.copy()
        known_bytes = self.known_bytes
        self.constants |= own
        for name, array in own.items():
            self.tensors[name] = Tensor(branch.derived.get(name, name), array.dtype, array.shape, array)
        ends = [
            Node("Identity", (value.name,), (name,), version=node.version, activation=node.activation)
            for name, value in zip(node.outputs, branch.outputs, strict=False)
            if name
        ]
        try:
            for inner in branch.nodes:
                self.add(inner)
            for end in ends:
                self._add_end(end)
        except NeedsRun as error:
            self.constants, self.tensors, self.steps, self.shape_deciding = before
            self.known_bytes = known_bytes
            raise NeedsRun(str(error)) from None  # elements that it may need are of tensors in the branch

    def _add_end(self, node: Node) -> None:
        """Add the Identity that gives an output of a branch its name: real numbers are data, as of any If."""
        known = self.tensors[node.inputs[0]]
        if known.value is None or not known.is_float:
            self.add(node)
            return
        (step,) = make_steps(node, lambda name: self._operand(name, node))
        self._bind(node.outputs[0], step, node)

    def _add_steps(self, node: Node, steps: Sequence[Step]) -> None:
        for name, step in zip(node.outputs, steps, strict=False):
            if not name:
                continue
            self._check_size(step.shape, str(node))
            self._check_size(step.scratch, f"{node}, scratch array")
            with node.errors_named():
                if all(t.value is not None for t in step.operands):
                    self._evaluate(name, step, node)
                else:
                    self._bind(name, step, node)

    def _delegate(self, node: Node) -> None:
        """Compute a node without a handler where everything that it reads is known."""
        tensors = [self.tensors.get(name) for name in node.reads]
        if not may_be_known(node) or any(t is None or t.value is None for t in tensors):
            if None in tensors or not self._add_evaluation(node):
                raise NeedsRun(f"{node} runs by itself")
            return
        inputs = [self.tensors[name].value if name else None for name in node.inputs]
        with memory.holding(self.known_bytes):
            results = single_node.compute(node, inputs, self.graph.values)
        for name, array in zip(node.outputs, results, strict=True):
            if name and not isinstance(array, np.ndarray):
                raise NeedsRun(f"{node} gives no tensor")
        if self.shape_deciding.intersection(node.inputs):
            self.shape_deciding.update(name for name in node.outputs if name)
        for name, array in zip(node.outputs, results, strict=True):
            if isinstance(array, np.ndarray):
                self._check_size(array.shape, str(node))
                self.known_bytes += array.nbytes
                if self.fixed:
                    array = self._rounded(name, array, self.fixed.formats.activations.get(name))
                self.tensors[name] = Tensor(name, array.dtype, array.shape, array)

    def _add_evaluation(self, node: Node) -> bool:
        """Bind the steps of a node that an evaluator computes; return whether its outputs are known without a run."""
        types = single_node.output_types(node, [self.tensors[name] if name else None for name in node.inputs])
        if types is None or node.captures:
            return False
        inputs = tuple(self._operand(name, node) if name else None for name in node.inputs)
        formats = {} if self.fixed is None else self.fixed.formats.activations
        outputs = tuple(
            Tensor(name, t, shape, None, formats.get(name) if t.kind == "f" else None)
            for name, (shape, t) in zip(node.outputs, types, strict=True)
        )
        compute = partial(single_node.compute, node, values=self.graph.values)
        evaluation = Evaluation(node, inputs, outputs, compute)
        if self.fixed is not None:
            evaluation = with_rule(evaluation, self.fixed, self.constants)
        self._add_steps(node, evaluation.steps())
        return True

    def finish(self, wanted: set[str]) -> Plan:
        """Return the plan of what was added, with those outputs that are wanted."""
        outputs = {name: tensor for name, tensor in self.tensors.items() if name in wanted}
        if self.fixed and self.fixed.strict and self.islands:
            listed = ", ".join(dict.fromkeys(map(str, self.islands)))  # a step for each output
            raise UnsupportedError(f"strict: no fixed-point rule for {listed}; they would run as float32 islands")
        steps = with_lifetimes(self.steps)
        most, heaviest = most_bytes(self.inputs, steps)
        plan = Plan(tuple(self.inputs), steps, outputs, tuple(self.encoded.values()), self.fixed)
        plan = replace(plan, bytes=self.known_bytes + most, heaviest=heaviest)
        memory.require(plan.bytes, plan.heaviest)
        return plan

    def check_quantized_input(self, outputs: Mapping[str, Tensor]) -> None:
        """Refuse outputs in float32 in a run in fixed point that has no input left to quantize."""
        if self.fixed is None or any(tensor.format is not None for tensor in self.inputs):
            return
        computed = {name for node in self.graph.nodes for name in node.outputs}
        for name, tensor in outputs.items():
            if tensor.is_float and name in self.shape_deciding & computed:
                listed = ", ".join(
                    f"'{value.name}'" for value in self.graph.inputs if value.name in self.shape_deciding
                )
                raise UnsupportedError(
                    f"the elements of input {listed} decide shapes or bounds, and nothing is left to compute in "
                    "fixed point; feed what decides them as an input of its own, or run in float32"
                )

    def _operand(self, name: str, node: Node) -> Tensor:
        if name not in self.tensors:
            raise NeedsRun(f"{node} reads '{name}', which is not a tensor")
        tensor = self.tensors[name]
        if self.fixed is None or tensor.value is None or not tensor.is_float or not self._is_computed(node):
            return tensor
        role = next(role for n, role in find(node).roles(node) if n == name)
        if role not in (Role.DATA, Role.WEIGHTS) and not self._is_bias(tensor, role):
            return tensor
        if self._is_real(node):
            return tensor
        if name not in self.encoded:
            fmt = self.fixed.formats.constant(name, tensor.value)
            assert fmt is not None
            encoding = self.fixed.rules.modes("constants", tensor.name)
            self.encoded[name] = replace(tensor, format=fmt, encoding=encoding)
        return self.encoded[name]

    def _is_bias(self, tensor: Tensor, role: Role) -> bool:
        """Whether a constant is a bias that the user gives a format."""
        return self.fixed is not None and role is Role.BIAS and tensor.name in self.fixed.formats.biases

    def _is_real(self, node: Node) -> bool:
        """Whether a node computes on real numbers without a format, in a model that is quantized in part."""
        if self.fixed is None or not self.is_partial:
            return False
        formats = self.fixed.formats
        if any(name and name not in formats.activations and name not in formats.joins for name in node.outputs):
            return True
        for name, role in find(node).roles(node):
            tensor = self.tensors[name]
            if tensor.is_float and role in (Role.DATA, Role.WEIGHTS):
                fmt = tensor.format if tensor.value is None else formats.constant(name, tensor.value)
                if fmt is None:
                    return True
        return False

    def _is_computed(self, node: Node) -> bool:
        """Whether the run computes the node, or this planner does only because its data decide shapes."""
        if self.fixed and not self.fixed.formats.known.issuperset(filter(None, node.outputs)):
            return True
        roles = find(node).roles(node)
        return any(self.tensors[name].value is None for name, role in roles if role is not Role.SHAPED)

    def _evaluate(self, name: str, step: Step, node: Node) -> None:
        if self.shape_deciding.intersection(node.inputs):
            self.shape_deciding.add(name)
            if self.fixed and isinstance(step, Linear):
                # Arithmetic on shapes has no filters, so this is data, and the planner would compute it in float32.
                raise UnsupportedError("shapes depend on its result: data-dependent shapes are not supported")
        size = prod(step.shape) * step.dtype.itemsize
        memory.require(self.known_bytes + size, str(node))
        self.known_bytes += size
        fmt = self.fixed.formats.activations.get(name) if self.fixed and step.dtype.kind == "f" else None
        output, step, kernel, _ = self._with_kernel(name, step, fmt, node)
        if output.format is None and all(t.format is None for t in step.operands):
            value = step.known()
        else:
            value = kernel(*[t.elements for t in step.operands])
            value = value if fmt is None else dequantize(value, fmt.fraction_bits).astype(step.dtype)
        if isinstance(step, Rounded) and self.fixed and fmt is None:
            value = self._rounded(name, value, self.fixed.formats.shape_constants.get(name))
        self.tensors[name] = Tensor(name, value.dtype, value.shape, value)

    def _rounded(self, name: str, value: NDArray[Any], fmt: QFormat | None) -> NDArray[Any]:
        """Return real numbers that a plan knows, rounded to a format; None for no rounding."""
        if fmt is None or self.fixed is None or value.dtype.kind != "f":
            return value
        codes = codes_of(value, name, fmt, self.fixed.rules.of("convert", name), None)
        return dequantize(codes, fmt.fraction_bits).astype(value.dtype)

    def _format(self, name: str, step: Step) -> QFormat | PartFormats | None:
        """Return the format of a tensor that a step computes; None where it stays real numbers."""
        if self.fixed is None or step.dtype.kind != "f":
            return None
        joined = self.fixed.formats.joins.get(name)
        if joined is None or not isinstance(step, Join) or not isinstance(step.function, Concatenated):
            return self.fixed.formats.activation(name)
        if any(t.format is None for t in step.joined):
            return None
        axis = step.function.axis
        formats = joined.given or tuple(t.one_format for t in step.joined)
        return joined_format(formats, axis, tuple(t.shape[axis] for t in step.joined))

    def _with_kernel(
        self, name: str, step: Step, fmt: QFormat | PartFormats | None, node: Node
    ) -> tuple[Tensor, Step, Kernel, Arithmetic | None]:
        """Return a step's output, the step in float32 where it mixes codes and reals, its kernel, and its rules."""
        output = Tensor(name, step.dtype, step.shape, None, fmt)
        if self._is_mixed(step, output):
            step = Island(step.operands, step.float32(), step.shape, step.dtype)
        in_fixed = any(t.format is not None for t in (output, *step.operands))
        if not in_fixed or self.fixed is None:
            return output, step, step.float32(), None
        rules = self.fixed.rules
        output = Tensor(name, step.dtype, step.shape, None, fmt, encoding=rules.constants)
        if isinstance(step, Rows) and step.is_island(rules.islands):
            step = step.island()
        arithmetic = rules.of(step.rule_kind, name, node.operator)
        if isinstance(step, Linear) and step.b is not None and fmt is not None and self._adds_unrounded(arithmetic):
            step, arithmetic = with_unrounded_bias(step, output, arithmetic)
        return output, step, step.fixed(output, arithmetic), arithmetic

    def _adds_unrounded(self, arithmetic: Arithmetic) -> bool:
        """Whether a bias is added as the real number that it is: in a QONNX model, by rules that say nothing else."""
        is_default = (arithmetic.accumulator, arithmetic.bias) == (AccumulatorRule(), BiasRule())
        return self.is_partial and self.graph.unrounded_biases and is_default

    def _bind(self, name: str, step: Step, node: Node) -> None:
        output, step, kernel, arithmetic = self._with_kernel(name, step, self._format(name, step), node)
        is_real = self._computes_reals(step, output)
        bound_step = BoundStep(node, step, output, kernel, is_real=is_real, arithmetic=arithmetic)
        if bound_step.is_island:
            self.islands.append(node)
        self.steps.append(bound_step)
        self.tensors[name] = output

    def _is_mixed(self, step: Step, output: Tensor) -> bool:
        """Whether a step mixes codes with real numbers without a format, and is neither an island nor a conversion."""
        if not self.is_partial or isinstance(step, Island | Convert):
            return False
        operands = step.operands
        if isinstance(step, Linear) and step.b is not None and step.b.value is not None:
            operands = (step.x, step.w)  # a constant bias never has a format
        if isinstance(step, Rows) and step.parameters[1:] and step.parameters[1].value is not None:
            operands = (step.x, step.parameters[0])
        return len({t.format is None for t in (output, *operands) if t.is_float}) > 1

    def _computes_reals(self, step: Step, output: Tensor) -> bool:
        """Whether a step computes on real numbers only, in a model that is quantized in part."""
        if not self.is_partial or isinstance(step, Move | Convert):
            return False
        return output.is_float and all(t.format is None for t in (output, *step.operands))

    def _check_size(self, shape: tuple[int, ...], label: str) -> None:
        memory.check_elements(shape, f"{label}: a tensor", self.max_elements)
