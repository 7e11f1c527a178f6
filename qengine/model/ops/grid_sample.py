"""GridSample: an input interpolated at computed coordinates."""

from qengine.errors import ModelError
from qengine.model.ops.operator import operator
from qengine.model.steps import Island, Tensor
from qengine.model.steps.sampled import GridSampled

_OLD_MODES = {"bilinear": "linear", "nearest": "nearest", "bicubic": "cubic"}
_PADDINGS = ("zeros", "border", "reflection")


def _sampled(x: Tensor, grid: Tensor, mode: str | None, declared: str, padding: str, align_corners: int) -> Island:
    if mode is None or padding not in _PADDINGS:
        raise ModelError(f"mode '{declared}' with padding_mode '{padding}' does not exist in ONNX at this opset")
    axes = x.ndim - 2
    if axes < 1 or grid.ndim != x.ndim or grid.shape[-1] != axes or grid.shape[0] != x.shape[0]:
        raise ModelError(f"grid {list(grid.shape)} does not fit an input of {list(x.shape)}")
    if not all(x.shape[2:]):
        raise ModelError(f"'{x.name}' {list(x.shape)} has no elements to sample")

    sampled = GridSampled(mode, padding, bool(align_corners))
    return Island((x, grid), sampled, (*x.shape[:2], *grid.shape[1:-1]), x.dtype)


@operator("GridSample", since=16)
def grid_sample_16(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "bilinear", padding_mode: str = "zeros"
) -> Island:
    """x at the coordinates of a grid."""
    return _sampled(x, grid, _OLD_MODES.get(mode), mode, padding_mode, align_corners)


@operator("GridSample", since=20)
def grid_sample_20(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Island:
    """x at the coordinates of a grid, along any number of axes; the modes have other names."""
    return _sampled(x, grid, mode if mode in _OLD_MODES.values() else None, mode, padding_mode, align_corners)
