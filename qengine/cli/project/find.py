"""The search for the project file: in the current folder, or where an option or the environment says."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from qengine.errors import ProjectError

NAME = "qengine.toml"
"""Name of the file that is found in the current folder."""

VARIABLE = "QENGINE_PROJECT"
"""Environment variable that names the file; empty: there is none."""

_WITH_VALUE, _ALONE = "--project", "--no-project"


def project_path(typed: Mapping[str, Any]) -> str | None:
    """Return the path of the project file; None where there is none, or it is ignored.

    Parameters
    ----------
    typed
        Values of --project and --no-project, by the names "project" and "no_project".

    Raises
    ------
    ProjectError
        If both are given, or there is no such file.
    """
    path, is_ignored = typed.get("project"), bool(typed.get("no_project"))
    if path is not None and is_ignored:
        raise ProjectError("--project and --no-project exclude each other: give one of them")
    origin = "--project"
    if path is None and not is_ignored and VARIABLE in os.environ:
        path, origin = os.environ[VARIABLE], VARIABLE
        is_ignored = not path
    if is_ignored:
        return None
    if path is None:
        return NAME if os.path.lexists(NAME) else None
    inside = os.path.join(path, NAME)  # noqa: PTH118 - names that are too long
    if os.path.lexists(inside):
        return inside
    if not os.path.lexists(path):
        raise ProjectError(f"{origin}: there is no file '{path}'; 'qengine init MODEL -o FILE' writes one")
    return str(path)


def without_project(words: Sequence[str]) -> Sequence[str]:
    """Return the words of a command line from the command on, without --project and --no-project before it."""
    rest = list(words)
    while rest:
        if rest[0] == _WITH_VALUE:
            del rest[:2]
        elif rest[0] == _ALONE or rest[0].startswith(f"{_WITH_VALUE}="):
            del rest[0]
        else:
            break
    return rest
