"""A context in which a module is in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch  # noqa: TID251 - an exporter


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module in eval mode while the context lasts, and restore the mode of each of its parts afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
