"""RuntimeValue: a tensor, sequence, map or optional between two nodes of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.qformat import Format

_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class RuntimeValue:
    """A tensor, sequence, map or optional between two nodes of a run.

    Attributes
    ----------
    value : array; list for a sequence; dict for a map; None for an empty optional and for an input that is left out.
    format : format of the codes in `value`; None where it holds no codes.
    is_known : whether the value follows from shapes and constants alone.
    real_dtype : element type of the real numbers that the codes represent.
    """

    value: Any
    format: Format | None = None
    is_known: bool = False
    real_dtype: np.dtype[Any] = _FLOAT

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The element type of the tensor in float32 arithmetic; None where the value is not a tensor."""
        if self.format is not None:
            return self.real_dtype
        return self.value.dtype if isinstance(self.value, np.ndarray) else None

    @property
    def array(self) -> NDArray[Any]:
        """The value as an array.

        Raises
        ------
        ModelError
            If it is not a tensor.
        """
        if not isinstance(self.value, np.ndarray):
            kinds = {list: "a sequence", dict: "a map"}
            kind = next((text for kind, text in kinds.items() if isinstance(self.value, kind)), "nothing")
            raise ModelError(f"a tensor is needed, not {kind}")
        return self.value
