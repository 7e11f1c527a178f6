"""Adapters of other runtimes, one file each, that run the same model on the same input with their best settings.

A file named `NAME_runs.py` has one function, `prepare(setup)`. It returns a function that runs the model in float32
(`bits` None), or with integers of 8 or up to 16 bits; it raises `Unavailable` where the runtime cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from qengine.errors import OptionError, did_you_mean

NAMES = ("onnxruntime", "openvino", "torch")


class Unavailable(Exception):  # noqa: N818 - shown in the report, not raised to the user
    """A runtime does not run the model with this setup; the message is the reason."""


@dataclass(frozen=True)
class RivalSetup:
    """Setup of a comparison with other runtimes.

    Attributes
    ----------
    path : path of the model file.
    feeds : array for every input.
    bits : word length of activations; None for float32.
    threads : number of threads, the same as that of the session.
    """

    path: Path
    feeds: Mapping[str, Any]
    bits: int | None
    threads: int


def rival_runs(names: Sequence[str], setup: RivalSetup) -> dict[str, Callable[[], object] | str]:
    """Return for each runtime a function that runs the model, or the reason why there is none.

    Parameters
    ----------
    names
        Names of the runtimes.
    setup
        Model, feeds, word length and threads.

    Raises
    ------
    OptionError
        If a name is not one of `NAMES`.
    """
    check_names(names)
    runs: dict[str, Callable[[], object] | str] = {}
    for name in names:
        try:
            runs[name] = import_module(f"{__name__}.{name}_runs").prepare(setup)
        except ModuleNotFoundError as error:
            runs[name] = f"{error.name} is not installed: pip install 'qengine[bench]'"
        except Unavailable as reason:
            runs[name] = str(reason)
    return runs


def check_names(names: Sequence[str]) -> None:
    """Raise OptionError if a name is not one of `NAMES`."""
    for name in names:
        if name not in NAMES:
            raise OptionError(f"no rival is named '{name}'{did_you_mean(name, NAMES)}; there are {', '.join(NAMES)}")
