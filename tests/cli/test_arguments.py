"""Option groups become options of a command, each in the order of its group."""

from dataclasses import dataclass
from inspect import signature
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from qengine.cli.arguments import expanded


@dataclass(frozen=True, kw_only=True)
class Size:
    width: Annotated[int, typer.Option(help="Width.")]
    height: Annotated[int, typer.Option(min=1)] = 2


@dataclass(frozen=True, kw_only=True)
class Box(Size):
    labels: Annotated[list[str] | None, typer.Option("-l", "--label")] = None


def show(*, name: Annotated[str, typer.Argument()], loud: bool = False, box: Box) -> None:
    """Show a box.

    It has a width,
    and a height.
    """
    print(name, box, loud)  # noqa: T201


def invoke(*words):
    app = typer.Typer()
    app.command()(expanded(show))
    return CliRunner().invoke(app, words)


def test_fields_are_options():
    assert invoke("a", "--width", "3", "-l", "x", "--label", "y").output == (
        "a Box(width=3, height=2, labels=['x', 'y']) False\n"
    )
    assert invoke("a", "--width", "3", "--height", "5", "--loud").output == (
        "a Box(width=3, height=5, labels=None) True\n"
    )


def test_declarations_hold():
    assert "Missing option '--width'" in invoke("a").output
    assert "Invalid value for '--height'" in invoke("a", "--width", "3", "--height", "0").output


def test_the_name_and_the_help_are_those_of_the_command():
    command = expanded(show)
    assert (command.__name__, command.__doc__) == ("show", "Show a box.\n\nIt has a width,\nand a height.")
    assert list(signature(command).parameters) == ["name", "loud", "width", "height", "labels"]


def test_an_option_has_one_declaration():
    def twice(*, size: Size, box: Box) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'width'"):
        expanded(twice)
