"""The form of GridSample, as frozen data that kernels read too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from qengine.kernels.reference.grid_sample import grid_sample


@dataclass(frozen=True)
class GridSampled:
    """Images at the coordinates of a grid; see `grid_sample` for the fields."""

    mode: str
    padding: str
    align_corners: bool

    def __call__(self, x: NDArray[Any], grid: NDArray[Any]) -> NDArray[Any]:
        """Return the images, in float64."""
        return grid_sample(x, grid, mode=self.mode, padding=self.padding, align_corners=self.align_corners)
