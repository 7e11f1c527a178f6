"""Writing of golden files: inputs, and the outputs that torch computes from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: TID251 - an exporter

from qengine.data.golden import save_golden
from qengine.errors import QEngineError
from qengine.torch_export.eval_mode import evaluating

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray


def write_golden(
    path: str | os.PathLike[str],
    module: torch.nn.Module,
    inputs: Mapping[str, NDArray[Any]],
    output_names: Sequence[str],
) -> None:
    """Run a module in eval mode, and write its inputs and outputs to a golden file; see `qengine.data.golden`.

    Parameters
    ----------
    path
        The .npz file, with keys ``in:<name>`` and ``out:<name>``; written whole or not at all.
    module
        The module to run. Its modes are restored afterwards.
    inputs
        Arrays in the order of the arguments of ``forward``, by tensor name.
    output_names
        A name for each tensor that ``forward`` returns.

    Raises
    ------
    QEngineError
        If the module returns another number of tensors than there are names, or the folder does not exist.
    """
    with evaluating(module), torch.no_grad():
        result = module(*(torch.from_numpy(np.array(value)) for value in inputs.values()))
    tensors = (result,) if isinstance(result, torch.Tensor) else tuple(result)
    if len(tensors) != len(output_names):
        raise QEngineError(
            f"golden {path}: {type(module).__name__} returns {len(tensors)} tensors, "
            f"but {len(output_names)} names are given: {', '.join(output_names)}"
        )
    outputs = {name: tensor.numpy() for name, tensor in zip(output_names, tensors, strict=True)}
    save_golden(path, inputs, outputs)
