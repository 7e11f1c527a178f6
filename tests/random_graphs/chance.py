"""The choices that a random graph is built by."""

import numpy as np


class Chance:
    """Random choices from the generator `rng` of a subclass."""

    def pick(self, *options):
        return options[int(self.rng.integers(len(options)))]

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def numbers(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)
