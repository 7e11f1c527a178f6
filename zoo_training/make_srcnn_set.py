"""Cut the bundled data set of SRCNN from the two photographs that it was not trained on.

    python zoo_training/make_srcnn_set.py --out qengine/data/zoo

The set has six pieces of 120 x 120 pixels, and each of them reduced by 3 as in training (`train_srcnn.low_res`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from train_srcnn import low_res, photographs, tensor

# Photograph, top, left.
PIECES = (
    ("chelsea", 60, 150),
    ("chelsea", 175, 280),
    ("coffee", 20, 60),
    ("coffee", 120, 250),
    ("coffee", 250, 100),
    ("coffee", 200, 420),
)
SIDE, FACTOR = 120, 3


def main() -> None:
    """Write srcnn_set.npz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("qengine/data/zoo"), help="folder to write to")
    arguments = parser.parse_args()
    targets = [photographs(name)[0][top : top + SIDE, left : left + SIDE] for name, top, left in PIECES]
    small = [(low_res(tensor(piece), FACTOR)[0] * 255).round().byte().numpy() for piece in targets]
    np.savez_compressed(
        arguments.out / "srcnn_set.npz",
        input=np.stack(small),
        factor=np.array([1, 1, FACTOR, FACTOR], np.float32),
        target=np.stack([piece.transpose(2, 0, 1) for piece in targets]),
    )


if __name__ == "__main__":
    main()
