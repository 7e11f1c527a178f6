"""The signature of a handler as a declaration: inputs and attributes of an operator, and the kinds of its steps.

Positional parameters are inputs. The annotation says how an input is read: `Tensor` (its elements come in a run),
`Weights` and `Bias` (of a linear operator), `Selector` (integers or booleans that pick elements), `Known` (the elements
themselves, needed when the plan is made), `Shaped` (only the shape is used).

Keyword-only parameters are attributes, with ONNX's names, types and defaults; `Annotated[int, Since(10)]` is one that
ONNX added with opset 10. An operator with many attributes may take them as the fields of one dataclass. The name
`outputs` is not an attribute: it is the number of outputs of the node.

The return annotation is the kind of step, or several kinds.
"""

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from qengine.model.steps import Step, Tensor

NEVER = 1 << 30
"""An opset that is not reached."""


class Role(Enum):
    """Way in which an operator reads an input."""

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

Handler = Callable[..., Step | tuple[Step, ...]]


@dataclass(frozen=True)
class Since:
    """Mark of an input or attribute that exists from an opset on."""

    opset: int


@dataclass(frozen=True)
class Until:
    """Mark of an input or attribute that an opset, and those after it, no longer have."""

    opset: int


@dataclass(frozen=True)
class Parameter:
    """An input or attribute of an operator.

    Attributes
    ----------
    name : ONNX's name.
    element : type of an attribute.
    default : value of an attribute that a node leaves out.
    role : way in which an input is read.
    required : whether a node must have it.
    variadic : whether it takes all further inputs.
    since, until : opsets that have it, from the first to before the second.
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


@dataclass(frozen=True)
class Options:
    """A handler's parameter that takes attributes as the fields of a dataclass."""

    name: str
    kind: type[Any]

    def bound(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Return keyword arguments with those that are fields of the dataclass in one object."""
        names = {field.name for field in fields(self.kind)}
        inside = {name: value for name, value in keywords.items() if name in names}
        outside = {name: value for name, value in keywords.items() if name not in names}
        return {**outside, self.name: self.kind(**inside)}


@dataclass(frozen=True)
class Signature:
    """Everything that a handler takes.

    Attributes
    ----------
    inputs : inputs of the operator, in order.
    attributes : attributes by name.
    options : the parameter that takes attributes as one object, if there is one.
    counts_outputs : whether it takes the number of outputs of the node.
    """

    inputs: tuple[Parameter, ...]
    attributes: Mapping[str, Parameter]
    options: Options | None
    counts_outputs: bool

    @classmethod
    def of(cls, handler: Handler) -> "Signature":
        """Return the signature of a handler."""
        hints = get_type_hints(handler, include_extras=True)
        inputs: list[Parameter] = []
        attributes: dict[str, Parameter] = {}
        options, counts_outputs = None, False
        for p in inspect.signature(handler).parameters.values():
            hint, default = hints[p.name], MISSING if p.default is p.empty else p.default
            if p.kind is not p.KEYWORD_ONLY:
                inputs.append(_parameter(p.name, hint, default, variadic=p.kind is p.VAR_POSITIONAL))
            elif p.name == "outputs":
                counts_outputs = True
            elif is_dataclass(hint) and isinstance(hint, type):
                options = Options(p.name, hint)
                of_field = get_type_hints(hint, include_extras=True)
                attributes |= {f.name: _parameter(f.name, of_field[f.name], f.default) for f in fields(hint)}
            else:
                attributes[p.name] = _parameter(p.name, hint, default)
        return cls(tuple(inputs), attributes, options, counts_outputs)


def kinds_of(handler: Handler) -> tuple[type[Step], ...]:
    """Return the kinds of step that a handler may return."""
    hint = get_type_hints(handler)["return"]
    if get_origin(hint) is tuple:
        hint = get_args(hint)[0]
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return tuple(kinds)


def _parameter(name: str, hint: Any, default: Any, *, variadic: bool = False) -> Parameter:
    # Marks are on the type itself or, where None is allowed too, on one of the types.
    marks = [mark for part in (hint, *get_args(hint)) for mark in getattr(part, "__metadata__", ())]
    return Parameter(
        name=name,
        element=_unmarked(hint),
        default=as_float32(default),
        role=next((mark for mark in marks if isinstance(mark, Role)), Role.DATA),
        required=default is MISSING,
        variadic=variadic,
        since=next((mark.opset for mark in marks if isinstance(mark, Since)), 1),
        until=next((mark.opset for mark in marks if isinstance(mark, Until)), NEVER),
    )


def _unmarked(hint: Any) -> Any:
    """Return a type without its marks, and `T | None` as T."""
    if get_origin(hint) is Annotated:
        return _unmarked(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return next(_unmarked(a) for a in get_args(hint) if a is not type(None))
    alias = getattr(get_origin(hint), "__value__", None)  # NumPy 2.5 declares NDArray with `type`
    return hint if alias is None else get_origin(alias)


def as_float32(default: Any) -> Any:
    """Return a default as a model would store it: a real number as the nearest float32."""
    return float(np.float32(default)) if isinstance(default, float) else default
