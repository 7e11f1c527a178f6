"""Hashes of what qengine computes, to compare two revisions bit for bit: `python tests/hash_codes.py OUT.json`.

Hashed are the raw codes and the formats of 500 random graphs and of both bundled models, on the reference and on native
kernels, and the rows of two sweeps. Run it with each revision on the path (PYTHONPATH=CHECKOUT/.editable), then
`python tests/hash_codes.py --compare A.json B.json` lists what differs. It takes some minutes.
"""

import argparse
import csv
import hashlib
import json
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
from random_graphs import random_case

from qengine import InferenceSession, QEngineError, zoo

GRAPHS = 500
ROUNDINGS = ("half_even", "half_up", "half_away", "floor", "trunc")
VOLATILE = {"key", "sweep", "model", "data", "version", "seconds", "finished", "tries"}


def digest(session, arrays):
    """Return a hash of arrays and of the formats that they are in."""
    found = hashlib.sha256(repr(sorted((name, str(form)) for name, form in session.formats.items())).encode())
    for array in map(np.ascontiguousarray, arrays):
        found.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def hash_graphs(isa):
    """Yield (name, hash) of random graphs, every tensor of them."""
    for seed in range(GRAPHS):
        case = random_case(seed)
        model = case.model.SerializeToString()
        try:
            session = InferenceSession(model, formats=case.formats, isa=isa, **case.options)
            yield f"graph {seed}", digest(session, session.run(case.names, case.feeds, raw=True))
        except QEngineError as error:
            yield f"graph {seed}", type(error).__name__


def hash_bundled(isa):
    """Yield (name, hash) of the bundled models in many arithmetics."""
    for name in ("digits", "srcnn"):
        entry = zoo.find(name)
        feeds = entry.sample().feeds
        session = InferenceSession(str(entry.path), isa=isa)
        yield f"{name} float32", digest(session, session.run(None, feeds))
        # The reference takes seconds for each picture.
        roundings = ROUNDINGS[::3] if (isa, name) == ("reference", "srcnn") else ROUNDINGS
        options = product(["Q4.3", "Q0.7", "UQ1.7", "Q3.12"], roundings, ["saturate", "wrap"], [None, 16])
        for qformat, rounding, overflow, bits in options:
            arithmetic = {"qformat": qformat, "rounding": rounding, "overflow": overflow, "accumulator_bits": bits}
            session = InferenceSession(str(entry.path), isa=isa, **arithmetic)
            words = " ".join(map(str, arithmetic.values()))
            yield f"{name} {words}", digest(session, session.run(None, feeds, raw=True))


def sweep_rows(name, *words):
    """Yield (name, row) of a sweep by the command line."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["sweep", name, "--bits", "3,4,6,8,16", "--recipe", "fold,best", "-o", folder, *words]
        subprocess.run([sys.executable, "-m", "qengine", *command], check=True, capture_output=True)
        with (Path(folder) / "results.csv").open(newline="") as file:
            for i, row in enumerate(csv.DictReader(file)):
                yield f"sweep {name} {i}", {column: row[column] for column in row if column not in VOLATILE}


def differences(before, after):
    """Return a line for every value that differs; of rows, a line for each column."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [f"{c}: {before.get(c)} -> {after.get(c)}" for c in before | after if before.get(c) != after.get(c)]
    return [] if before == after else [f"{before} -> {after}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", metavar="OUT.json", help="where to write the hashes")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="list what differs between two such files")
    options = parser.parse_args()
    if options.compare:
        before, after = (json.loads(Path(path).read_text()) for path in options.compare)
        different = {
            name: lines for name in before | after if (lines := differences(before.get(name), after.get(name)))
        }
        for name, lines in different.items():
            print(name, *lines, sep="\n  ")
        print(f"{len(before | after)} results, {len(different)} differ")
        return len(different) > 0
    if options.out is None:
        parser.error("give OUT.json, or --compare A B")
    found = {}
    for isa in ("reference", None):
        for results in (hash_graphs(isa), hash_bundled(isa)):
            found |= {f"{name} {isa or 'native'}": value for name, value in results}
    found |= dict(sweep_rows("digits", "--limit", "200", "--per-channel", "both"))
    found |= dict(sweep_rows("srcnn", "--limit", "1"))
    Path(options.out).write_text(json.dumps(found, indent=1))
    print(f"{len(found)} results in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
