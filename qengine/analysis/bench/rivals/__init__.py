"""Other runtimes on the same model and input, each with its best settings: one file each.

Every file has one function, `prepare(path, feeds, bits, threads)`, that returns a function which runs the model, in
float32 (bits None), or with integers of 8 or of up to 16 bits; `Unavailable` says why it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from qengine.errors import OptionError, did_you_mean

NAMES = ("onnxruntime", "openvino", "torch")


class Unavailable(Exception):  # noqa: N818 - it is shown, not raised to the user
    """A rival does not run the model so; the message says why."""


def rival_runs(
    names: Sequence[str], path: Path, feeds: Mapping[str, Any], bits: int | None, threads: int
) -> dict[str, Callable[[], object] | str]:
    """Return for each rival a function that runs the model, or why there is none.

    Parameters
    ----------
    names
        Of the rivals.
    path, feeds
        The model's file, and a feed for every input.
    bits
        Word length of activations; None for float32.
    threads
        As many as ours.

    Raises
    ------
    OptionError
        If there is no rival of a name.
    """
    found: dict[str, Callable[[], object] | str] = {}
    for name in names:
        if name not in NAMES:
            raise OptionError(f"no rival is named '{name}'{did_you_mean(name, NAMES)}; there are {', '.join(NAMES)}")
        try:
            found[name] = import_module(f"{__name__}.{name}_runs").prepare(path, feeds, bits, threads)
        except ModuleNotFoundError as error:
            found[name] = f"{error.name} is not installed: pip install 'qengine[bench]'"
        except Unavailable as why:
            found[name] = str(why)
    return found
