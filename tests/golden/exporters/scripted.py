"""Networks for the TorchScript exporter: loops and branches that the data decides, and what tracing writes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn


class Refine(nn.Module):
    """Convolutions repeated as often as an input says: a Loop with a trip count."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.step = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        """[N, 1, H, W] and a whole number -> [N, 1, H, W]."""
        image = x
        state = torch.relu(self.stem(x))
        for _ in range(int(n)):
            state = torch.relu(0.5 * state + 0.25 * self.step(state))
        return self.head(state) + image


class Shrink(nn.Module):
    """A convolution repeated until the mean is small: a Loop whose condition is computed, and that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[N, 3, H, W] -> [N, 2, H-2, W-2], how often, and whether the mean became small."""
        count = 0
        while bool(x.abs().mean() > 0.25) and count < 6:
            x = torch.tanh(0.3 * self.step(x))
            count += 1
        return self.head(x), torch.tensor(count), x.abs().mean() <= 0.25


class Choose(nn.Module):
    """Branches in branches: one of three ways, each of which reads what was computed before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bright = nn.Conv2d(8, 4, 3, padding=1)
        self.dark = nn.Conv2d(8, 4, 1)
        self.flat = nn.ConvTranspose2d(8, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[N, 3, H, W] -> [N, 4, H, W], and the way that was taken."""
        code = torch.relu(self.stem(x))
        mean = x.mean()
        if bool(mean > 0.5):
            y = self.bright(code)
            way = 0
        else:
            pooled = fn.avg_pool2d(code, 3, 1, 1)
            if bool(mean > -0.5):
                y = self.flat(pooled) + code[:, :4]
                way = 1
            else:
                y = torch.sigmoid(self.dark(pooled)) * mean
                way = 2
        return y, torch.tensor(way)


class Collect(nn.Module):
    """A list that grows in a loop, then joined: SequenceInsert and ConcatFromSequence."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Conv2d(2, 2, 3, padding=1)
        self.down = nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[N, 2, H, W] and a whole number n -> [N, 2 (n + 1), H, W] and [n + 1, N, 2, H / 2, W / 2]."""
        wide, small = [x], [self.down(x)]
        for i in range(int(n)):
            x = torch.relu(0.5 * self.step(x) + 0.5 * x)
            wide.append(x * (1.0 / (i + 1)))
            small.append(self.down(x))
        return torch.cat(wide, dim=1), torch.stack(small)


class Search(nn.Module):
    """A loop that holds branches, is left early, and reads tensors of the graph around it."""

    def __init__(self) -> None:
        super().__init__()
        self.grow = nn.Conv2d(2, 2, 3, padding=1)
        self.mix = nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor, limit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[1, 2, H, W] and a number -> [1, 2, H, W] and the round in which the peak, times rounds, rose above it."""
        around = self.mix(x)
        best = torch.zeros_like(x)
        found = -1
        for i in range(5):
            x = fn.leaky_relu(self.grow(x), 0.1) + 0.5 * around
            best = torch.max(best, x) if i % 2 == 0 else best + 0.125 * x
            if bool((i + 1) * x.max() > limit[0]):
                found = i
                break
        return best, torch.tensor(found)


@torch.jit.script
def halved(x: torch.Tensor, least: int) -> torch.Tensor:
    """Halve an image until its height is small."""
    while x.size(2) > least:
        x = fn.avg_pool2d(x, 2)
    return x


class Pyramid(nn.Module):
    """A traced network that calls a scripted function: how often it runs depends on the shape of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 1, H, W] -> [N, 2, H / 2^k, W / 2^k]."""
        return self.head(halved(torch.relu(self.stem(x)), 6))


class Reader(nn.Module):
    """A line of text as a traced network reads it: convolutions, the columns one by one through a GRU, logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.ReLU(), nn.MaxPool2d(2))
        self.recurrent = nn.GRU(24, 8, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 1, 8, W] -> [N, W / 2, 5]."""
        columns = self.stem(x).permute(0, 3, 1, 2).flatten(2)
        return fn.log_softmax(self.head(self.recurrent(columns)[0]), dim=-1)


class Peaks(nn.Module):
    """Where a map is its own maximum: pooled indices, top k, gathered values, a scatter back into an empty map."""

    def __init__(self) -> None:
        super().__init__()
        self.heat = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[N, 2, H, W] -> [N, 3, 4] scores, [N, 3, 4] places, [N, 3, H W] the map with nothing but them."""
        heat = self.heat(x)
        tops, places = fn.max_pool2d(heat, 2, return_indices=True)
        scores, order = torch.topk(tops.flatten(2), 4, dim=2)
        chosen = places.flatten(2).gather(2, order)
        return scores, chosen, torch.zeros_like(heat).flatten(2).scatter(2, chosen, scores)
