"""SRCNN, a super-resolution network, and its bicubic resize by factors that are an input of the model."""

from __future__ import annotations

import warnings
from typing import Any

import torch  # noqa: TID251 - an exporter

from qengine.errors import QEngineError


class DynamicBicubic(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """Bicubic resize by factors that are an input of the model.

    A trace of ``interpolate`` would make the factors constants of the graph. This function is exported as one ONNX
    Resize node whose scales are a tensor of the graph, with the attributes of torch's arithmetic. Call it as
    `bicubic_resize`. It has no gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Resize the last two axes.

        Parameters
        ----------
        ctx
            Context of autograd; unused.
        x
            float tensor [N, C, H, W].
        scales
            float32 tensor [4]: 1, 1, vertical factor, horizontal factor.

        Returns
        -------
        torch.Tensor
            float tensor [N, C, floor(H * scales[2]), floor(W * scales[3])].
        """
        del ctx
        with warnings.catch_warnings():
            # The tracer warns that the factors leave the graph here; `symbolic` puts them back.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined, unused-ignore]
            vertical, horizontal = scales[-2:].tolist()
        return torch.nn.functional.interpolate(
            x, scale_factor=(vertical, horizontal), mode="bicubic", align_corners=False
        )

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Raise an error, because without a gradient the layers before the resize would not be trained.

        Raises
        ------
        QEngineError
            Always.
        """
        del ctx, gradients
        raise QEngineError("bicubic_resize has no gradient: resize before training, or detach its input")

    @staticmethod
    def symbolic(g: Any, x: Any, scales: Any) -> Any:
        """Emit the Resize node (opset 11 or later).

        Parameters
        ----------
        g
            Graph that torch builds.
        x, scales
            Values of that graph: float [N, C, H, W] and float32 [4].

        Returns
        -------
        torch.Value
            The output of the node.
        """
        roi = g.op("Constant", value_t=torch.zeros(0, dtype=torch.float32))
        return g.op(
            "Resize",
            x,
            roi,
            scales,
            mode_s="cubic",
            coordinate_transformation_mode_s="pytorch_half_pixel",
            cubic_coeff_a_f=-0.75,
            nearest_mode_s="floor",
        )


def bicubic_resize(x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Resize the last two axes with torch's bicubic kernel (a = -0.75, half-pixel centres, no antialiasing).

    Parameters
    ----------
    x
        float tensor [N, C, H, W].
    scales
        float32 tensor [4]: 1, 1, vertical factor, horizontal factor.

    Returns
    -------
    torch.Tensor
        float tensor [N, C, floor(H * scales[2]), floor(W * scales[3])]. The cubic kernel overshoots, so values may lie
        slightly outside the range of `x`.

    Raises
    ------
    QEngineError
        In ``backward``, if a gradient is computed through it.
    """
    return DynamicBicubic.apply(x, scales)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]


class BicubicResize(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """Module of `bicubic_resize`, so that ``readable_names`` of `export` names its output after the attribute."""

    def forward(self, x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Return ``bicubic_resize(x, scales)``."""
        return bicubic_resize(x, scales)


class SRCNN(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """Super-resolution network: a bicubic resize, then three convolutions (Dong et al. 2014, arXiv:1501.00092)."""

    def __init__(self) -> None:
        super().__init__()
        self.upscaled = BicubicResize()
        self.conv1 = torch.nn.Conv2d(3, 64, 9, padding=4)
        self.relu1 = torch.nn.ReLU()
        self.conv2 = torch.nn.Conv2d(64, 32, 1)
        self.relu2 = torch.nn.ReLU()
        self.conv3 = torch.nn.Conv2d(32, 3, 5, padding=2)

    def forward(self, x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        """Return enlarged images.

        Parameters
        ----------
        x
            float32 tensor [N, 3, H, W], RGB in 0..1.
        factor
            float32 tensor [4]: 1, 1, vertical factor, horizontal factor.

        Returns
        -------
        torch.Tensor
            float32 tensor [N, 3, floor(H * factor[2]), floor(W * factor[3])], RGB, not clipped.
        """
        return self.refine(self.upscaled(x, factor))

    def refine(self, upscaled: torch.Tensor) -> torch.Tensor:
        """Return images that have their final size already, after the three convolutions.

        Parameters
        ----------
        upscaled
            float32 tensor [N, 3, H, W].

        Returns
        -------
        torch.Tensor
            float32 tensor of the same shape.
        """
        hidden = self.relu1(self.conv1(upscaled))
        hidden = self.relu2(self.conv2(hidden))
        output: torch.Tensor = self.conv3(hidden)
        return output
