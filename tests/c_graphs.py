"""Random networks as C beside the session, as many as are asked for, with any compiler and machine of the tests.

    python tests/c_graphs.py --count 2000                                  # clean by gcc's sanitizers
    python tests/c_graphs.py --toolchain "s390x (big-endian)" --first 500

Prints each graph with a tensor that differs, or whose behaviour is undefined; the exit status is then 1.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from deploy.c.test_random_graphs import CHUNK, drawn, wrong
from deploy.c.toolchains import TOOLCHAINS, Failure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toolchain", choices=TOOLCHAINS, default="gcc sanitizers")
    parser.add_argument("--first", type=int, default=0, help="seed of the first graph")
    parser.add_argument("--count", type=int, default=200, help="number of graphs")
    given = parser.parse_args()
    with_ = TOOLCHAINS[given.toolchain]
    if with_.missing:
        print(with_.missing)
        return 2
    end, failed, taken = given.first + given.count, 0, 0
    for start in range(given.first, end, 2 * CHUNK):
        seeds = range(start, min(start + 2 * CHUNK, end))
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = wrong(seeds, Path(folder), with_)
            except Failure as failure:
                found = [str(failure)]
        print("\n".join([*found, f"seeds {seeds.start} to {seeds.stop - 1}: {len(found)} differ"]), flush=True)
        failed += len(found)
        taken += sum(not drawn(seed)[2] for seed in seeds)
        drawn.cache_clear()
    print(f"{taken} of {given.count} graphs are C; {failed} differ, {given.toolchain}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
