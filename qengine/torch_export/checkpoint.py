"""Removal of a common prefix from the keys of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qengine.errors import QEngineError


def strip_prefix(state_dict: Mapping[str, Any], prefix: str | None = None) -> dict[str, Any]:
    """Return a checkpoint without a common prefix of its keys: ``generator.conv1.weight`` -> ``conv1.weight``.

    Parameters
    ----------
    state_dict
        A state dict, or a checkpoint that holds one under the key ``state_dict``.
    prefix
        The prefix, with or without its last dot; None for the first dotted component, which all keys must share.

    Returns
    -------
    dict of str to torch.Tensor
        The same tensors under the shorter names, in the same order. Names stay different, because all lose the same
        prefix.

    Raises
    ------
    QEngineError
        If the checkpoint is empty or a key lacks the prefix; the message names the key.
    """
    inner = state_dict.get("state_dict")
    if isinstance(inner, Mapping):
        state_dict = inner
    if not state_dict:
        raise QEngineError("the checkpoint holds no tensors")
    if prefix is None:
        prefix = next(iter(state_dict)).partition(".")[0]
    start = prefix.removesuffix(".") + "."
    for key in state_dict:
        if not key.startswith(start):
            raise QEngineError(f"checkpoint key '{key}' does not begin with '{start}', so it cannot be stripped")
    return {key.removeprefix(start): value for key, value in state_dict.items()}
