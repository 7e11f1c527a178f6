"""Small networks as torch modules, of the kinds whose quality is measured."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def conv_block(inputs: int, outputs: int, stride: int = 1, activation: type[nn.Module] = nn.SiLU) -> nn.Sequential:
    """Return a convolution of 3 x 3, a normalization of the batch, and an activation function."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), activation())


class Detector(nn.Module):
    """Detector with one joined head: (N, 4 + classes, places), boxes in pixels beside scores from 0 to 1."""

    def __init__(self, classes: int, size: int, width: int = 24) -> None:
        super().__init__()
        self.classes, w = classes, width
        self.first = nn.Sequential(
            conv_block(3, w // 2, 2), conv_block(w // 2, w, 2), conv_block(w, 2 * w, 2), conv_block(2 * w, 2 * w)
        )
        self.second = nn.Sequential(conv_block(2 * w, 3 * w, 2), conv_block(3 * w, 3 * w))
        self.down = conv_block(5 * w, 2 * w)
        self.heads = nn.ModuleList(
            nn.Sequential(conv_block(n, 2 * w), nn.Conv2d(2 * w, 4 + classes, 1)) for n in (2 * w, 3 * w)
        )
        for head in self.heads:
            nn.init.constant_(head[-1].bias[4:], -4.0)  # most places hold nothing
        centres, strides = [], []
        for stride in (8, 16):
            count = size // stride
            y, x = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
            centres.append((torch.stack([x, y]).reshape(2, -1) + 0.5) * stride)
            strides.append(torch.full((1, count * count), float(stride)))
        self.register_buffer("centres", torch.cat(centres, 1))
        self.register_buffer("strides", torch.cat(strides, 1))

    def raw(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes in pixels (N, 4, places) and logits of classes (N, classes, places)."""
        fine = self.first(x)
        coarse = self.second(fine)
        fine = self.down(torch.cat([fine, functional.interpolate(coarse, scale_factor=2.0)], 1))
        y = torch.cat([head(one).flatten(2) for head, one in zip(self.heads, (fine, coarse), strict=True)], 2)
        box, logits = y.split([4, self.classes], 1)
        centre = box[:, :2] * self.strides + self.centres
        size = torch.exp(box[:, 2:]) * self.strides
        return torch.cat([centre, size], 1), logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        boxes, logits = self.raw(x)
        return torch.cat([boxes, torch.sigmoid(logits)], 1)


class UNet(nn.Module):
    """U-Net of three levels, with transposed convolutions and skips that are concatenated."""

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        w = width
        pair = lambda a, b: nn.Sequential(conv_block(a, b, 1, nn.ReLU), conv_block(b, b, 1, nn.ReLU))  # noqa: E731
        self.down = nn.ModuleList([pair(3, w), pair(w, 2 * w), pair(2 * w, 4 * w)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(4 * w, 2 * w, 2, 2), nn.ConvTranspose2d(2 * w, w, 2, 2)])
        self.merge = nn.ModuleList([pair(4 * w, 2 * w), pair(2 * w, w)])
        self.head = nn.Conv2d(w, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([up(x), skip], 1))
        return self.head(x)


class ResidualDense(nn.Module):
    """Residual dense network (Zhang et al. 2018) for twice the resolution, on top of a bilinear enlargement."""

    def __init__(self, width: int = 24, growth: int = 12, blocks: int = 3, layers: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, 1, 1)
        self.dense = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width + i * growth, growth, 3, 1, 1) for i in range(layers)) for _ in range(blocks)
        )
        self.local = nn.ModuleList(nn.Conv2d(width + layers * growth, width, 1) for _ in range(blocks))
        self.mix = nn.Sequential(nn.Conv2d(blocks * width, width, 1), nn.Conv2d(width, width, 3, 1, 1))
        self.grow = nn.Sequential(
            nn.Conv2d(width, 4 * width, 3, 1, 1), nn.PixelShuffle(2), nn.Conv2d(width, 3, 3, 1, 1)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        first = x = self.first(image)
        found = []
        for layers, local in zip(self.dense, self.local, strict=True):
            joined = x
            for layer in layers:
                joined = torch.cat([joined, torch.relu(layer(joined))], 1)
            x = x + local(joined)
            found.append(x)
        x = self.mix(torch.cat(found, 1)) + first
        return self.grow(x) + functional.interpolate(image, scale_factor=2.0, mode="bilinear")


class Keyword(nn.Module):
    """Keyword recogniser: a convolution along time, two recurrent layers, the last state."""

    def __init__(self, kind: type[nn.RNNBase], bands: int, classes: int, width: int = 48) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(bands, width, 3, 1, 1), nn.Linear(width, classes)
        self.recurrent = kind(width, width, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.recurrent(torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2))
        return self.head(y[:, -1])


class Attention(nn.Module):
    """Self-attention in separate operators: products, a scale, a mask that is added, a Softmax."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.parts, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        batch, count, width = x.shape
        q, k, v = self.parts(x).view(batch, count, 3, self.heads, self.size).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-1, -2) / self.size**0.5
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, count, width))


class Block(nn.Module):
    """Transformer block with the normalizations first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.first, self.second = Attention(width, heads), nn.LayerNorm(width), nn.LayerNorm(width)
        self.dense = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        x = x + self.attention(self.first(x), mask)
        return x + self.dense(self.second(x))


class Vit(nn.Module):
    """Vision transformer with a token for the class."""

    def __init__(self, size: int, classes: int, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.patches, self.norm, self.head = nn.Conv2d(1, width, 8, 8), nn.LayerNorm(width), nn.Linear(width, classes)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, (size // 8) ** 2 + 1, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Bert(nn.Module):
    """Text classifier over tokens with a mask of padding that becomes the least float32."""

    def __init__(self, words: int, classes: int, places: int, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Parameter(torch.randn(1, places, width) * 0.02)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(depth))

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.words(tokens) + self.places)
        hidden = (1.0 - mask[:, None, None, :].to(x.dtype)) * torch.finfo(torch.float32).min
        for block in self.blocks:
            x = block(x, hidden)
        return self.head(torch.tanh(x[:, 0]))
