"""`register_operator`: registration of functions as operators of domains that ONNX does not define."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace as replaced
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from qengine.checks import check_whole_number
from qengine.errors import OperatorError, OptionError
from qengine.model.custom.calls import call_function
from qengine.model.custom.operator import Custom
from qengine.model.custom.signature import Signature
from qengine.model.ops import operator
from qengine.model.ops.operator import ANY, REAL, Facts, Operator
from qengine.model.ops.signature import NEVER, Parameter, Role
from qengine.model.schemas import defines
from qengine.model.steps import Step, Table, Tensor

_RESERVED = ("", "ai.onnx", "qengine")

_Function = TypeVar("_Function", bound=Callable[..., Any])


class RegisteredOperator(Generic[_Function]):
    """A registered operator, which is called like its function, on arrays."""

    def __init__(self, custom: Custom) -> None:
        self._custom = custom
        functools.update_wrapper(self, custom.function)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the function."""
        return self._custom.function(*arguments, **keywords)

    def __repr__(self) -> str:
        return f"<operator {_label(self._custom)} since {self._custom.since}>"

    def fixed_point(self, rule: _Function) -> _Function:
        """Add an exact rule in fixed point to the operator; a decorator.

        Parameters
        ----------
        rule
            Function with the parameters of the operator's function. Each input in fixed point is a `FixedPoint` (codes
            in int64, and their format). It returns, for each output, exact integers of up to 2^60 and their number of
            fraction bits, `total, n`; qengine rounds them once to the output's format. For integers or booleans
            that are not in fixed point, n is None.

        Returns
        -------
        callable
            The rule.

        Raises
        ------
        OptionError
            If the rule's parameters differ from the function's, or the operator has a rule already.
        """
        now = self._custom
        what = f"the rule of {_label(now)}"
        if not any(one is now for one in operator.registered().get((now.domain, now.name), ())):
            raise OptionError(f"{what}: the operator was registered again; decorate with the new one")
        if now.moves or not now.is_delegated:
            raise OptionError(f"{what}: the operator has a rule already; leave out its fixed_point")
        signature = Signature.of(rule, what)
        if not signature.takes_the_same(now.signature):
            raise OptionError(f"{what} takes {signature}, and the function {now.signature}: give both the same")
        self._custom = replaced(now, rule=rule, parameters=_parameters(now.signature, Role.DATA, Role.DATA))
        operator.register(self._custom)
        return rule


def register_operator(
    name: str,
    *,
    domain: str,
    since: int = 1,
    fixed_point: Literal["table", "move"] | None = None,
    deterministic: bool = True,
    replace: bool = False,
) -> Callable[[_Function], RegisteredOperator[_Function]]:
    """Register a function as an operator; a decorator.

    The positional parameters of the function are the inputs, arrays that it must not write to; an input whose default
    is None may be left out, and then is None. Keyword-only parameters are the attributes. The function returns an
    array, or a tuple of arrays for several outputs. Real numbers are cast to the type that the model declares for the
    output; where it declares none, float64 is cast to the type of the first floating-point input, unless an input is
    float64.

    In fixed point the function runs in float32 between codes (an *island*), unless there is a rule: "table", "move" or
    one that `RegisteredOperator.fixed_point` adds.

    Parameters
    ----------
    name, domain
        Operator type and domain in the model. ONNX's own operators cannot be registered.
    since
        First opset of the domain that the function implements. Of several functions, the newest whose `since` the
        model's opset reaches is used.
    fixed_point
        "table" for a function of one input, element by element: it takes float64, and fixed point uses a table of it
        over all codes. "move" for a function that only moves elements of its first input: it takes codes in the place
        of real numbers, and the output has the input's format.
    deterministic
        Whether equal inputs always give equal outputs. Then a node whose inputs are all constant is computed once.
    replace
        Whether to replace another function that is registered for the operator. A function of the same module and name
        always replaces itself. Create new sessions afterwards.

    Raises
    ------
    OptionError
        If the operator is ONNX's or registered already, or the function has parameters of another kind.

    Examples
    --------
    >>> import numpy as np
    >>> import qengine
    >>> @qengine.register_operator("Cube", domain="my.domain", fixed_point="table")
    ... def cube(x):
    ...     return x * x * x
    >>> float(cube(np.float32(2)))
    8.0
    """
    _check_names(name, domain, since)
    if fixed_point not in (None, "table", "move"):
        raise OptionError(
            f"fixed_point is 'table', 'move' or left out, not {fixed_point!r}; add a rule with @operator.fixed_point"
        )

    def register(function: _Function) -> RegisteredOperator[_Function]:
        what = f"operator {domain}.{name}"
        if not callable(function):
            raise OptionError(f"{what} must be a function, not {function!r}")
        if not replace:
            _check_free(name, domain, since, function)
        signature = Signature.of(function, what)
        custom = Custom(
            name=name,
            domain=domain,
            since=since,
            until=NEVER,
            handler=operator.no_handler,
            parameters=_parameters(signature, Role.PLAIN, Role.PLAIN),
            attributes={},
            elements=ANY,
            kinds=(),
            counts_outputs=False,
            function=function,
            signature=signature,
            deterministic=bool(deterministic),
        )
        if fixed_point == "table":
            custom = _as_table(custom, what)
        elif fixed_point == "move":
            if not signature.inputs:
                raise OptionError(f"{what}: fixed_point='move' needs an input to move")
            parameters = _parameters(signature, Role.DATA, Role.PLAIN)
            custom = replaced(custom, moves=True, parameters=parameters, facts=Facts(preserves_format=True))
        operator.register(custom)
        return RegisteredOperator(custom)

    return register


def _check_names(name: Any, domain: Any, since: Any) -> None:
    if not isinstance(name, str) or not name:
        raise OptionError(
            f"an operator is registered by its name, not {name!r}: "
            '@qengine.register_operator("Name", domain="my.domain")'
        )
    if not isinstance(domain, str):
        raise OptionError(f"the domain of an operator is text, not {domain!r}")
    if domain in _RESERVED:
        owner = "qengine's own" if domain == "qengine" else "ONNX's own"
        raise OptionError(f"domain {domain!r} is {owner}; register {name} in a domain of yours")
    if defines(name, domain) or (domain, name) in operator.versions():
        raise OptionError(f"{domain}.{name} is defined already and needs no registration")
    check_whole_number("since", since, 1)


def _check_free(name: str, domain: str, since: int, function: Callable[..., Any]) -> None:
    for other in operator.registered().get((domain, name), ()):
        if other.since == since and isinstance(other, Custom) and _source(other.function) != _source(function):
            module, qualname = _source(other.function)
            raise OptionError(
                f"{domain}.{name} since {since} is registered already, by {qualname} of {module}; "
                "give replace=True to replace it, or another since"
            )


def _source(function: Callable[..., Any]) -> tuple[str, str]:
    kind = type(function)
    return getattr(function, "__module__", kind.__module__), getattr(function, "__qualname__", kind.__qualname__)


def _label(custom: Operator) -> str:
    return f"{custom.domain}.{custom.name}"


def _parameters(signature: Signature, first: Role, others: Role) -> tuple[Parameter, ...]:
    """Return the inputs of a signature as an operator's parameters; `first` is the role of the first one."""
    parameters: list[Parameter] = []
    for i, name in enumerate(signature.inputs):
        role = others if i else first
        parameters.append(
            Parameter(name, Tensor, None, role, i < signature.required, variadic=False, since=1, until=NEVER)
        )
    if signature.variadic:
        role = others if parameters else first
        parameters.append(Parameter("inputs", Tensor, None, role, required=False, variadic=True, since=1, until=NEVER))
    return tuple(parameters)


def _as_table(custom: Custom, what: str) -> Custom:
    """Return the operator with a handler that returns a `Table` step."""
    signature = custom.signature
    if len(signature.inputs) != 1 or signature.required != 1 or signature.variadic:
        raise OptionError(f"{what}: fixed_point='table' needs a function of one input, and this one takes {signature}")
    if not custom.deterministic:
        raise OptionError(f"{what}: fixed_point='table' needs a deterministic function: the table is computed once")

    def handler(x: Tensor, **attributes: Any) -> Step:
        compute = _elementwise(custom.function, signature.keywords(attributes))
        _check_elementwise(compute)
        return Table(x, compute)

    attributes = {
        name: Parameter(name, object, one.default, Role.DATA, one.required, variadic=False, since=1, until=NEVER)
        for name, one in signature.attributes.items()
    }
    return replaced(
        custom,
        handler=handler,
        parameters=_parameters(signature, Role.DATA, Role.DATA),
        attributes=attributes,
        elements=REAL,
        kinds=(Table,),
    )


def _check_elementwise(compute: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
    """Raise OperatorError for a function whose result for an element depends on other elements."""
    x = np.linspace(-3.0, 5.0, 17)
    if not np.allclose(compute(x)[:7], compute(x[:7]), equal_nan=True):
        raise OperatorError(
            "the result of its function for an element depends on other elements; fixed_point='table' needs a function "
            "of one number"
        )


def _elementwise(
    function: Callable[..., Any], keywords: dict[str, Any]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the function with its attributes bound and its result checked."""

    def compute(x: NDArray[np.float64]) -> NDArray[np.float64]:
        y = np.asarray(call_function(function, [x], keywords))
        if y.shape != x.shape or y.dtype.kind not in "fiub":
            raise OperatorError(
                f"its function returns {y.dtype} of shape {y.shape} for an input of shape {x.shape}; "
                "fixed_point='table' needs a function of real numbers, element by element"
            )
        return y.astype(np.float64)

    return compute
