"""Print the table of docs/reference/families.md.

python tests/family_table.py
"""

import numpy as np
from test_families import LEAST, WORDS, feeds, fixed, path

from qengine import InferenceSession
from qengine.analysis.report import compare
from qengine.data.golden import read_golden
from qengine.metrics.sqnr import sqnr


def main():
    print("| model | float32 | 16 bits | 8 bits | islands |\n|---|---|---|---|---|")  # noqa: T201 - a script
    for name in LEAST:
        (wanted,) = read_golden(path(name).with_suffix(".npz"))[1].values()
        float32 = InferenceSession(path(name), isa="reference")
        (found,) = float32.run(None, feeds(name))
        difference = np.abs(found - wanted).max() / np.abs(wanted).max()
        decibels, islands = [], []
        for bits in WORDS:
            comparison = compare(fixed(name, bits, isa="reference"), float32, feeds(name))
            decibels.append(sqnr(comparison.float_outputs["output"], comparison.outputs["output"]))
            islands = [island.split("(")[1].rstrip(")") for island in comparison.islands]
        kinds = ", ".join(f"{islands.count(kind)} {kind}" for kind in dict.fromkeys(islands)) or "none"
        numbers = " | ".join(f"{one:.0f} dB" for one in decibels)
        print(f"| {name} | {difference:.0e} | {numbers} | {kinds} |")  # noqa: T201


if __name__ == "__main__":
    main()
