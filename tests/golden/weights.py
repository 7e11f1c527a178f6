"""Weights for networks that nobody trained."""

import torch
from torch import nn


def settle(module: nn.Module, generator: torch.Generator) -> None:
    """Give a network weights, biases and running statistics that are all seen in its outputs."""
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if not value.is_floating_point():
                continue
            draw = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(0.5 + draw.abs())
            elif value.ndim > 1:
                value.copy_(draw * (2 / value[0].numel()) ** 0.5)
            else:
                value.copy_(draw * 0.2 + (1.0 if "weight" in name else 0.0))


def learn_statistics(module: nn.Module, image: torch.Tensor) -> None:
    """Give every BatchNorm the statistics that the image has there, as training does."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    module.train()
    with torch.no_grad():
        module(image)
    module.eval()
