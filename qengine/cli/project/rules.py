"""Rules by which what is typed takes the place of keys of a project file, for each command.

They follow from the meaning of the options: those of the command line that say the same as a key, or make it idle.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qengine.cli.project.file import Project
from qengine.cli.project.keys import KEYS, NORMALIZATION, PREPROCESSING
from qengine.data.zoo import ENTRIES

if TYPE_CHECKING:
    from qengine.cli.project.defaults import Taken

MODEL_IS_OPTIONAL = ("bench", "targets")
"""Commands with a meaning of their own without a model."""

_OPTIONAL_FORMATS = ("inspect", "bench", "targets", "report")
"""Commands that have a meaning without the formats, where no other command has written them yet."""

_CHOOSING = ("quantize", "report")
"""Commands that choose formats where none are given."""

_REPLACE_FORMATS = frozenset({"formats", "qformat", "bits", "activation_bits"})
"""Options that give formats of activations, in place of those of the file."""

_CHOOSE_FORMATS = frozenset(
    {"weight_bits", "method", "per_channel", "percentile", "headroom", "unsigned", "tie_joins", "output_bits"}
)
"""Options of the choice of formats, which `quantize` refuses where formats are given."""

_OF_RUNS = frozenset({"threads", "limit", "batch", "labels", "rounding", "overflow", "accumulator_bits", "metric"})
"""Options that `inspect` refuses where it runs nothing."""

_OF_SAMPLES = ("labels", "limit", "batch")
"""Options that are refused where there is no data."""

_ONE_INPUT = ("run", "inspect", "bench")
"""Commands that take a single input, and no set of samples, of a bundled model where no data is given."""

_OF_FIXED_POINT = frozenset({"target", "rounding", "overflow", "accumulator_bits"})
"""Options without a meaning in float32."""

_PICTURES = tuple(key.name for key in KEYS if key.table == PREPROCESSING)


def typed_model(command: str, typed: Mapping[str, Any]) -> str | None:
    """Return the model that was typed; None where there is none, "" where the command is about something else."""
    if command == "compare":
        return typed["reference"] if "dump" in typed else None
    if command != "targets":
        return typed.get("model")
    words = list(typed.get("words") or ())
    if words[:1] != ["check"]:
        return ""
    return words[1] if len(words) > 1 else None


def apply(result: Taken, project: Project, command: str, typed: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Leave out what does not go with what was typed.

    Parameters
    ----------
    result
        Defaults from the file, some of which are left out.
    project, command
        The file, and the command.
    typed
        Values of the parameters that were typed.
    given
        Values that were typed or stand in the command's own table in the file.

    Raises
    ------
    ProjectError
        If the command needs the formats, and no command has written them yet.
    """
    if given.keys() & set(NORMALIZATION):
        _drop_keys(result, *NORMALIZATION)
    if "data" in typed:
        _drop_keys(result, "labels")
    if typed.get("data_free"):
        result.drop("data", *_OF_SAMPLES, "inputs", *_PICTURES)
    if command in ("run", "export vectors", "export c") and "data" not in typed:
        known = project.get("inputs") or {}
        if any(not any(text.startswith(f"{name}=") for name in known) for text in typed.get("inputs") or ()):
            result.drop("data", *_OF_SAMPLES)
    if "data" not in result.values and "data" not in typed and not _has_own_samples(project, command, typed):
        _drop_keys(result, *_OF_SAMPLES)
        if command == "inspect":
            _inspect_statically(result)
    if command == "inspect" and ("tensors" in typed or "shapes" in typed):
        _inspect_statically(result)
    _choose_formats(result, project, command, given)
    if command == "quantize" and given.get("writes", "qdq") == "qdq":
        _leave_rules_out(result)


def _choose_formats(result: Taken, project: Project, command: str, given: Mapping[str, Any]) -> None:
    """Leave out the formats where others are given, and refuse to read them where they are not there."""
    if result.keys.get("formats") != ("formats",):
        return
    replacing = _REPLACE_FORMATS | (_CHOOSE_FORMATS if command == "quantize" else set())
    if given.keys() & replacing:
        result.drop("formats")
        return
    path = result.values["formats"]
    if os.path.exists(path):  # noqa: PTH110 - names that are too long
        if command in _CHOOSING:
            result.drop("bits")
        return
    reason = f"is '{path}', which does not exist yet: 'qengine calibrate' or 'qengine search' writes it"
    if command not in _OPTIONAL_FORMATS:
        other = "--bits" if command == "quantize" else "--qformat"
        raise project.error(("formats",), f"{reason}; or give {other}")
    result.notes.append(str(project.error(("formats",), reason)))
    result.drop("formats", *(_OF_FIXED_POINT if command in ("inspect", "bench") else ()))
    if command == "inspect":
        _inspect_statically(result)


def _leave_rules_out(result: Taken) -> None:
    """Leave out what a model of QuantizeLinear cannot hold; a target still bounds formats that are chosen for it."""
    idle = ["rounding", "overflow", *(["target"] if "formats" in result.values else [])]
    left = [name for name in idle if result.keys.get(name) == (name,)]
    result.drop(*left)
    if left:
        what = " and ".join(left)
        result.notes.append(f"{what} of the project: not in the file, which rounds half to even as ONNX does")


def _has_own_samples(project: Project, command: str, typed: Mapping[str, Any]) -> bool:
    """Return whether a command takes samples without data: those of a bundled model."""
    return typed_model(command, typed) is None and project.get("model") in ENTRIES and command not in _ONE_INPUT


def _inspect_statically(result: Taken) -> None:
    result.drop("data", *_OF_RUNS, *_PICTURES)


def _drop_keys(result: Taken, *names: str) -> None:
    """Leave out keys of the file itself and of [preprocessing], but not those of the command's own table."""
    result.drop(*(name for name in names if result.keys.get(name, ())[:1] in ((PREPROCESSING,), (name,))))
