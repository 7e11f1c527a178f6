"""What a handler's signature says: the inputs and attributes of an operator, and the kinds of step that come out.

Positional parameters are inputs, and their annotations say how each is read: `Tensor` (elements arrive at
run time), `Weights` and `Bias` (of a linear operator), `Selector` (integers or booleans that say which
elements), `Known` (the elements themselves, needed when the plan is made), `Shaped` (only the shape is looked
at). Keyword-only parameters are attributes with ONNX's names, types and defaults; `Annotated[int, Since(10)]`
is one that ONNX added with opset 10. The return annotation is the kind of step.
"""

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from qengine.model.steps import Step, Tensor

NEVER = 1 << 30
"""An opset that is not reached."""


class Role(Enum):
    """How an operator reads an input."""

    DATA = "data"
    WEIGHTS = "weights"
    BIAS = "bias"
    SELECTOR = "selector"
    KNOWN = "known"
    SHAPED = "shaped"
    PLAIN = "plain"


Weights = Annotated[Tensor, Role.WEIGHTS]
Bias = Annotated[Tensor, Role.BIAS]
Selector = Annotated[Tensor, Role.SELECTOR]
Known = Annotated[NDArray[Any], Role.KNOWN]
Shaped = Annotated[Tensor, Role.SHAPED]

Ints = tuple[int, ...]
Floats = tuple[float, ...]
Attributes = Mapping[str, Any]

Handler = Callable[..., Step | tuple[Step, ...]]


@dataclass(frozen=True)
class Since:
    """Marks an input or attribute that exists from an opset on."""

    opset: int


@dataclass(frozen=True)
class Until:
    """Marks an input or attribute that an opset, and those after it, no longer have."""

    opset: int


@dataclass(frozen=True)
class Parameter:
    """One input or attribute of an operator; a variadic input stands for all that follow.

    Attributes
    ----------
    name : ONNX's.
    element : the type of an attribute.
    default : what an attribute is if it is not given.
    role : how an input is read.
    required : whether it must be given.
    variadic : whether all further inputs are of this kind.
    since, until : the opsets that have it, from the first to before the second.
    """

    name: str
    element: Any
    default: Any
    role: Role
    required: bool
    variadic: bool
    since: int
    until: int

    def serves(self, opset: int) -> bool:
        """Whether the operator has this input or attribute at an opset."""
        return self.since <= opset < self.until


def kinds_of(handler: Handler) -> tuple[type[Step], ...]:
    """Return the kinds of step that a handler may answer with."""
    given = get_type_hints(handler)["return"]
    if get_origin(given) is tuple:
        given = get_args(given)[0]
    kinds = get_args(given) if get_origin(given) in (Union, types.UnionType) else (given,)
    return tuple(kinds)


def read_signature(handler: Handler) -> tuple[tuple[Parameter, ...], dict[str, Parameter], bool]:
    """Return a handler's inputs, its attributes, and whether it asks for the number of outputs."""
    hints = get_type_hints(handler, include_extras=True)
    inputs, attributes, counts_outputs = [], {}, False
    for p in inspect.signature(handler).parameters.values():
        if p.kind is not p.KEYWORD_ONLY:
            inputs.append(_parameter(p, hints[p.name]))
        elif p.name == "outputs":
            counts_outputs = True
        else:
            attributes[p.name] = _parameter(p, hints[p.name])
    return tuple(inputs), attributes, counts_outputs


def _parameter(p: inspect.Parameter, hint: Any) -> Parameter:
    # Marks are on the type itself or, where None is allowed too, on one of the types.
    marks = [mark for part in (hint, *get_args(hint)) for mark in getattr(part, "__metadata__", ())]
    return Parameter(
        name=p.name,
        element=_plain(hint),
        default=_rounded(p.default),
        role=next((mark for mark in marks if isinstance(mark, Role)), Role.DATA),
        required=p.default is p.empty,
        variadic=p.kind is p.VAR_POSITIONAL,
        since=next((mark.opset for mark in marks if isinstance(mark, Since)), 1),
        until=next((mark.opset for mark in marks if isinstance(mark, Until)), NEVER),
    )


def _plain(hint: Any) -> Any:
    """Return a type without its marks, and `T | None` as T."""
    if get_origin(hint) is Annotated:
        return _plain(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return next(_plain(a) for a in get_args(hint) if a is not type(None))
    return hint


def _rounded(default: Any) -> Any:
    """Return a real number as the float32 that the same default, written into a model, would be."""
    return float(np.float32(default)) if isinstance(default, float) else default
