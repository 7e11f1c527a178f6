"""Adapter between Typer and commands that take groups of options.

Typer reads the options of a command from the parameters of a function. A command with twenty options would be a
function with twenty parameters, and an option that five commands share would be written in five of them. Here an
option is declared once, as an annotated field of a frozen dataclass (an option group, see `qengine.cli.options`), and
a command takes a few such groups. `expanded` converts between the two: Typer sees one parameter for each field, in the
order of the fields, and the command gets its groups.
"""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, Signature, getdoc, signature
from typing import Any, get_type_hints

Command = Callable[..., Any]


def expanded(command: Command) -> Command:
    """Return a function for Typer that takes the fields of the option groups of a command, and calls the command.

    Parameters
    ----------
    command
        A function whose parameters are annotated with dataclasses, or with options of their own.

    Raises
    ------
    ValueError
        If two fields have the same name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hints[name] for name in signature(command).parameters if is_dataclass(hints[name])}
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name in groups:
            parameters += _fields(groups[name])
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))

    def callback(**options: Any) -> Any:
        built = {name: group(**{f.name: options.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        return command(**built, **options)

    callback.__name__, callback.__doc__ = command.__name__, getdoc(command) or ""
    callback.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    callback.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return callback


def _fields(group: type[Any]) -> Iterator[Parameter]:
    """Yield a parameter for every field of an option group."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        default = Parameter.empty if field.default is MISSING else field.default
        yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name])
