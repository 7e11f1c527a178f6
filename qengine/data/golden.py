"""Golden files: the inputs of a model and the outputs that torch computed from them, in one .npz file.

A key is ``in:<name>`` or ``out:<name>``. Reading needs only NumPy. `qengine.torch_export.write_golden` writes golden
files and needs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qengine.atomic_files import replacing
from qengine.data.read import ARRAY_ERRORS
from qengine.errors import QEngineError, first_line
from qengine.input_files import open_input

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

Arrays = dict[str, NDArray[Any]]

_IN, _OUT = "in:", "out:"


def save_golden(
    path: str | os.PathLike[str], inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]
) -> None:
    """Write inputs and outputs as a golden file, whole or not at all.

    Parameters
    ----------
    path
        The .npz file.
    inputs, outputs
        Arrays of any shape and numeric type, by tensor name.

    Raises
    ------
    QEngineError
        If an array holds Python objects, the folder does not exist, or the file cannot be written.
    """
    arrays: dict[str, Any] = {_IN + name: np.asarray(value) for name, value in inputs.items()}
    arrays |= {_OUT + name: np.asarray(value) for name, value in outputs.items()}
    for key, value in arrays.items():
        if value.dtype.hasobject:
            raise QEngineError(f"golden {path}: '{key}' has dtype {value.dtype}; only plain arrays can be stored")
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_golden(path: str | os.PathLike[str]) -> tuple[Arrays, Arrays]:
    """Read a golden file.

    Parameters
    ----------
    path
        The .npz file.

    Returns
    -------
    inputs, outputs : dict of str to ndarray
        Arrays by tensor name, in the order in which they were written.

    Raises
    ------
    QEngineError
        If the file cannot be read, holds Python objects, or has a key that is neither ``in:`` nor ``out:``.
    """
    inputs: Arrays = {}
    outputs: Arrays = {}
    try:
        # np.load does not close a file that it opened itself if that is not an archive.
        with open_input(path) as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise QEngineError(f"golden {path}: a single array, not an .npz file")
            for key in archive.files:
                value = archive[key]
                if not isinstance(value, np.ndarray):
                    raise QEngineError(f"golden {path}: '{key}' is not an array")
                if key.startswith(_IN):
                    inputs[key.removeprefix(_IN)] = value
                elif key.startswith(_OUT):
                    outputs[key.removeprefix(_OUT)] = value
                else:
                    raise QEngineError(f"golden {path}: key '{key}' begins neither with 'in:' nor with 'out:'")
    except ARRAY_ERRORS as error:
        raise QEngineError(f"cannot read golden {path}: {first_line(error)}") from error
    return inputs, outputs
