"""A declared operator: what its handler takes, and the facts that other parts of qengine read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qengine.errors import UnsupportedError
from qengine.model.graph import Dim, Node
from qengine.model.ops.facts import NO_FACTS, Constants, Facts, Sign
from qengine.model.ops.filters import Channels
from qengine.model.ops.signature import Handler, Options, Parameter, Role
from qengine.model.steps import Step


class NeedsRun(UnsupportedError):  # noqa: N818 - callers that can run nodes one by one catch it
    """A plan cannot hold a node, because only a run knows its outputs or their shapes."""


class NeedsElements(NeedsRun):
    """A plan can hold a node only if the elements of some of its inputs are known when the plan is made.

    Attributes
    ----------
    names : names of these inputs.
    """

    def __init__(self, message: str, names: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.names = names


def no_handler(*_: Any, **__: Any) -> Step:
    """Raise NeedsRun: the handler of every operator whose nodes run by themselves."""
    raise NeedsRun("no handler makes steps of it")


@dataclass(frozen=True)
class Operator:
    """A version of an operator.

    Attributes
    ----------
    name, domain : ONNX's names; the domain of ONNX itself is "".
    since, until : opsets that the handler serves, from the first to before the second.
    handler : function that makes the steps, one for each output.
    parameters : inputs.
    attributes : attributes by name.
    elements : element types of data inputs, as NumPy's kinds.
    kinds : kinds of step that the handler may return.
    counts_outputs : whether the handler takes the number of outputs of the node.
    options : parameter of the handler that takes attributes as one object, if there is one.
    facts : everything that is declared in addition to the signature.
    """

    name: str
    domain: str
    since: int
    until: int
    handler: Handler
    parameters: tuple[Parameter, ...]
    attributes: Mapping[str, Parameter]
    elements: str
    kinds: tuple[type[Step], ...]
    counts_outputs: bool
    options: Options | None = None
    facts: Facts = NO_FACTS

    @property
    def is_delegated(self) -> bool:
        """Whether there is no handler: a run computes the node by itself, on unquantized elements."""
        return self.handler is no_handler

    def check(self, node: Node) -> None:
        """Raise an error for a node that cannot run, before any shape is known; a handler checks its nodes itself."""

    # Inputs

    def parameter(self, index: int) -> Parameter | None:
        """Return the parameter that takes input number `index`."""
        if index < len(self.parameters):
            return self.parameters[index]
        last = self.parameters[-1] if self.parameters else None
        return last if last and last.variadic else None

    def roles(self, node: Node) -> list[tuple[str, Role]]:
        """Return (tensor, role) for every input that the node has."""
        pairs = []
        for i, name in enumerate(node.inputs):
            parameter = self.parameter(i)
            if name and parameter:
                pairs.append((name, parameter.role))
        return pairs + [(name, Role.PLAIN) for name in node.captures]

    @property
    def takes_bias(self) -> bool:
        """Whether an input is the bias of a linear operator."""
        return any(parameter.role is Role.BIAS for parameter in self.parameters)

    @property
    def number_inputs(self) -> tuple[int, ...]:
        """The places of the inputs that are numbers in the format of the first input."""
        return tuple(i for i, parameter in enumerate(self.parameters) if parameter.name in self.facts.numbers)

    # Facts

    def picks(self, node: Node) -> bool:
        """Whether an evaluator computes the node and picks elements of the first input, of codes as of real numbers."""
        return self.is_delegated and self.preserves_format(node)

    def preserves_format(self, node: Node) -> bool:
        """Whether the outputs of a node have the format of its first input."""
        declared = self.facts.preserves_format
        return declared if isinstance(declared, bool) else declared(node)

    def kept_outputs(self, node: Node) -> tuple[str, ...]:
        """Return the outputs of a node that have the format of its first input; of what an evaluator picks, one."""
        if not node.inputs or not self.preserves_format(node):
            return ()
        return node.outputs[:1] if self.is_delegated else node.outputs

    def keeps_mean(self, node: Node) -> bool:
        """Whether each channel of a node's output has the expected value of that channel of its first input."""
        declared = self.facts.keeps_mean
        return declared if isinstance(declared, bool) else declared(node)

    def sign(self, node: Node, constants: Constants) -> Sign | None:
        """Return the sign of a node's outputs; None where nothing is known."""
        declared = self.facts.sign
        return declared(node, constants) if callable(declared) else declared

    def channels_after(
        self, node: Node, channels: Channels, shape: tuple[Dim, ...] | None, constants: Constants
    ) -> Channels | None:
        """Return the place of channels after a node.

        Parameters
        ----------
        node
            The node that reads the channels, as its first input.
        channels
            Place of the channels in that input.
        shape
            Shape of the input; None where unknown.
        constants
            Constants of the graph.

        Returns
        -------
        Channels or None
            Place of the channels. None unless multiplying a channel by a positive factor multiplies the outputs of
            that channel, and of no other, by the factor.
        """
        rule = self.facts.channels
        return rule(node, channels, shape, constants) if rule else None

    def channel_axis(self, node: Node, ndim: int) -> int | None:
        """Return the axis of weights with `ndim` axes that counts output channels; None where there is none."""
        filters = self.facts.filters
        return filters.channel_axis(node, ndim) if filters else None

    def numbers(self, node: Node, constants: Constants) -> dict[str, float | None]:
        """Return the numbers of a node that are in the format of its first input, by the name of input or attribute.

        A number that the model computes is None; one that the node leaves out is not among them.
        """
        values: dict[str, float | None] = {}
        for name in self.facts.numbers:
            if name in node.attributes:
                values[name] = node.number(name, 0.0)
        for i in self.number_inputs:
            if i < len(node.inputs) and node.inputs[i]:
                array = constants.get(node.inputs[i])
                values[self.parameters[i].name] = None if array is None or array.size != 1 else float(array.item())
        return values


__all__ = ["NeedsElements", "NeedsRun", "Operator", "no_handler"]
