"""Classifiers of plain, residual, dense and shuffled convolutions."""

from __future__ import annotations

import torch
from torch import nn

from .parts import convolution


class VGG(nn.Module):
    """Plain 3x3 convolutions with biases, max pools, two hidden Linear layers, Softmax."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 8), (8, 12), (12, 16)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2))
        self.classifier = nn.Sequential(
            nn.Linear(64, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 10)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] -> [N, 10]."""
        return torch.softmax(self.classifier(torch.flatten(self.features(x), 1)), dim=1)


class Basic(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(inputs, outputs, 3, stride), convolution(outputs, outputs, 3, act=None))
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride, act=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C', H / stride, W / stride]."""
        return torch.relu(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(inputs, outputs // 4, 1),
            convolution(outputs // 4, outputs // 4, 3, stride),
            convolution(outputs // 4, outputs, 1, act=None),
        )
        self.shortcut = convolution(inputs, outputs, 1, stride, act=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C', H / stride, W / stride]."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """A stem with a max pool, both kinds of residual block, global average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1))
        self.layers = nn.Sequential(Basic(8, 8), Basic(8, 12, 2), Bottleneck(12, 32, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] -> [N, 10]."""
        return self.classifier(torch.flatten(self.pool(self.layers(self.stem(x))), 1))


class Dense(nn.Module):
    """BatchNorm and ReLU before each convolution; what a layer adds is concatenated to what there was."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(inputs + i * growth),
                nn.ReLU(),
                convolution(inputs + i * growth, 2 * growth, 1),
                nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False),
            )
            for i in range(layers)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C + layers * growth, H, W]."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class DenseNet(nn.Module):
    """Two dense blocks with a transition between them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, 8, 3, 2),
            Dense(8, 4, 3),
            nn.BatchNorm2d(20),
            nn.ReLU(),
            nn.Conv2d(20, 10, 1, bias=False),
            nn.AvgPool2d(2),
            Dense(10, 4, 2),
            nn.BatchNorm2d(18),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(18, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 24, 24] -> [N, 10]."""
        return self.classifier(torch.flatten(self.pool(torch.relu(self.features(x))), 1))


class Fire(nn.Module):
    """A narrow 1x1 convolution, then 1x1 and 3x3 side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.one, self.three = nn.Conv2d(squeezed, expanded, 1), nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, 2 * expanded, H, W]."""
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.one(x)), torch.relu(self.three(x))], dim=1)


class SqueezeNet(nn.Module):
    """Fire modules, max pools whose last window hangs over, a convolution as classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(8, 4, 8),
            Fire(16, 4, 8),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(16, 6, 12),
        )
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(24, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 34, 34] -> [N, 10]."""
        return torch.flatten(self.classifier(self.features(x)), 1)


class Shuffled(nn.Module):
    """Half of the channels pass, the others go through a depthwise block; then the halves are interleaved."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half, self.stride = outputs // 2, stride
        self.left = nn.Sequential(convolution(inputs, inputs, 3, stride, inputs, None), convolution(inputs, half, 1))
        inputs = half if stride == 1 else inputs
        self.right = nn.Sequential(
            convolution(inputs, half, 1), convolution(half, half, 3, stride, half, None), convolution(half, half, 1)
        )
        if stride == 1:
            self.left = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C', H / stride, W / stride]."""
        left, right = (x, x) if self.stride > 1 else x.chunk(2, dim=1)
        x = torch.cat([self.left(left), self.right(right)], dim=1)
        count, channels, height, width = x.shape
        return x.view(count, 2, channels // 2, height, width).transpose(1, 2).reshape(count, channels, height, width)


class ShuffleNet(nn.Module):
    """Version 2: split and shuffled channels, mean over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, 8, 3, 2),
            nn.MaxPool2d(3, 2, 1),
            Shuffled(8, 16, 2),
            Shuffled(16, 16, 1),
            convolution(16, 32, 1),
        )
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] -> [N, 10]."""
        return self.classifier(self.features(x).mean([2, 3]))
