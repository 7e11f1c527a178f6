"""Print the tables of docs/how-to/corrections.md.

python tests/correction_table.py
"""

import numpy as np
from quantization.correction.badly_scaled import badly_scaled_digits

from qengine import InferenceSession, calibrate, zoo
from qengine.metrics.sqnr import sqnr
from qengine.model.loader import load
from qengine.quantization.correction import correct

BITS = (8, 6, 5, 4)
NO_FOLDING, FOLDED = {"no folding": ()}, {"folded": ("fold",)}
EQUALIZED, BEST = {"equalized": ("fold", "equalize")}, {"best": "best"}
CORRECTIONS = {"biases, analytic": "analytic", "biases, from data": "bias", "weights rounded": "round"}


def rows(name, recipe):
    """Return by the name of a row of the table a recipe with one further correction each."""
    return {f"{name}, {row}": (*recipe, step) for row, step in CORRECTIONS.items()}


ROWS = {
    "digits": NO_FOLDING | FOLDED | rows("folded", ("fold",)) | EQUALIZED | BEST,
    "digits, badly scaled": NO_FOLDING | FOLDED | EQUALIZED | rows("equalized", ("fold", "equalize")) | BEST,
}


def fit(feeds, bits, per_channel):
    """Return a function that chooses the formats of a graph on feeds."""
    return lambda graph: calibrate(graph, [feeds], bits=bits, unsigned=True, per_channel=per_channel)


def main():
    sample = zoo.find("digits").sample()
    images, labels = sample.feeds["image"], sample.labels
    fitted, data = {"image": images[:100]}, [{"image": images[i : i + 50]} for i in range(0, 200, 50)]
    models = {"digits": load(zoo.find("digits").path), "digits, badly scaled": badly_scaled_digits()}
    for name, graph in models.items():
        (real,) = InferenceSession(graph).run(None, {"image": images})
        top1 = 100 * np.mean(real.argmax(1) == labels)
        for per_channel in (False, True):
            print(f"\n{name}, weights per {'channel' if per_channel else 'tensor'}; float32 {top1:.1f} %\n")  # noqa: T201
            print("| | " + " | ".join(f"{bits} bits" for bits in BITS) + " |\n|---" + "|---" * len(BITS) + "|")  # noqa: T201
            for row, recipe in ROWS[name].items():
                cells = []
                for bits in BITS:
                    found = correct(graph, fit(fitted, bits, per_channel), data, recipe)
                    (fixed,) = InferenceSession(found.graph, formats=found.formats).run(None, {"image": images})
                    right = 100 * np.mean(fixed.argmax(1) == labels)
                    cells.append(f"{right:.1f} %, {sqnr(real, fixed):.1f} dB")
                print(f"| {row} | {' | '.join(cells)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
