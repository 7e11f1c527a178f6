"""Networks as C: whether every tensor is that of the session, and how large, how fast and how full of memory they are.

    python benchmarks/c_networks.py                                # all networks in all arithmetics
    python benchmarks/c_networks.py digits,unet --only "8 bits"    # some of them
    python benchmarks/c_networks.py digits --on Cortex-M4          # instructions of a machine, tensors compared there

A line holds the network and the arithmetic, tensors that are equal, millions of products, bytes of code (gcc -O3, and
-Os with NET_SMALL), bytes of constants, bytes of the arena with the bound below which no arena can be, and the time of
a run with gcc -O3 -march=native on one thread.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from deploy.c.running import Comparison
from deploy.c.toolchains import TOOLCHAINS, Failure, Toolchain
from embedded_networks import EMBEDDED, Embedded

import qengine
from qengine.errors import QEngineError

ARITHMETICS: dict[str, dict[str, Any]] = {
    **{
        f"{bits} bits {rounding}": {"bits": bits, "rounding": rounding}
        for bits in (8, 6, 16)
        for rounding in ("half_even", "half_up")
    },
    "cmsis-nn-q7": {"bits": 8, "target": "cmsis-nn-q7"},
}
TIMED = TOOLCHAINS["gcc -O3 native"]
_TITLES = ("network", "arithmetic", "equal", "MMAC", "code", "small", "constants", "arena", "bound", "ratio")


@dataclass(frozen=True)
class Exported:
    """A network in one arithmetic.

    Attributes
    ----------
    network : network.
    arithmetic : name of the arithmetic.
    comparison : the network in C and its session.
    """

    network: Embedded
    arithmetic: str
    comparison: Comparison

    @classmethod
    def made(cls, network: Embedded, arithmetic: str, folder: Path) -> Exported:
        options = dict(ARITHMETICS[arithmetic])
        bits, target = options.pop("bits"), {k: v for k, v in options.items() if k == "target"}
        formats = qengine.calibrate(network.model, network.feeds, bits=bits, **target)
        session = qengine.InferenceSession(network.model, formats=formats, threads=1, **options)
        return cls(network, arithmetic, Comparison([(session, network.feeds)], folder))

    def row(self, machine: Toolchain, repeats: int) -> list[str]:
        """Return the cells of its line."""
        wrong = self.comparison.differences(machine)
        (network,), (arena,) = self.comparison.networks, self.comparison.arenas
        macs = sum(one.macs for one in network.operations)
        tensors = len(network.tensors) * len(self.network.feeds)
        code = [_code(self.comparison.folder, *flags) for flags in (("-O3",), ("-Os", "-DNET0_SMALL"))]
        constants = sum(one.array.nbytes for one in self.comparison.sources[0].constants if not one.is_visible)
        ticks = min(self.comparison.ticks(machine, repeats=repeats)[0])
        if machine.port == "host.c":
            speed = [f"{ticks / 1e6:.3f} ms", f"{macs / max(ticks, 1):.1f} GMAC/s"]
        else:
            speed = [f"{ticks} instructions", f"{ticks / max(macs, 1):.2f} a MAC"]
        for line in wrong[:3]:
            print(f"    {line}", file=sys.stderr)
        return [
            *(self.network.name, self.arithmetic, f"{tensors - len(wrong)}/{tensors}", f"{macs / 1e6:.2f}"),
            *(str(n) for n in (*code, constants, arena.bytes, arena.bound)),
            f"{arena.bytes / max(arena.bound, 1):.3f}",
            *speed,
        ]


def _code(folder: Path, *flags: str) -> int:
    """Return the bytes of the functions with the constants among them."""
    subprocess.run(["gcc", *flags, "-c", "net0.c", "-o", "size.o"], cwd=folder, check=True)
    lines = subprocess.run(["size", "size.o"], cwd=folder, check=True, capture_output=True, text=True).stdout
    return sum(map(int, lines.splitlines()[1].split()[:2]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="?", default=",".join(EMBEDDED), help="names, separated by commas")
    parser.add_argument("--only", default="", help="part of the name of the arithmetics")
    parser.add_argument("--on", default=TIMED.name, choices=list(TOOLCHAINS), help="toolchain that runs them")
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the fastest counts")
    arguments = parser.parse_args()
    names = arguments.networks.split(",")
    if unknown := [name for name in names if name not in EMBEDDED]:
        parser.error(f"no network is named {unknown[0]}: there are {', '.join(EMBEDDED)}")
    machine = TOOLCHAINS[arguments.on]
    if machine.missing:
        parser.error(machine.missing)
    is_simulated = machine.port != "host.c"
    print(" | ".join([*_TITLES, "ticks", "speed"]))
    for name in names:
        network = EMBEDDED[name]()
        for arithmetic in ARITHMETICS:
            if arguments.only not in arithmetic:
                continue
            folder = Path(tempfile.mkdtemp())
            start = time.perf_counter()
            try:
                row = Exported.made(network, arithmetic, folder).row(machine, 1 if is_simulated else arguments.repeats)
            except (QEngineError, Failure) as error:
                row = [network.name, arithmetic, f"{type(error).__name__}: {str(error)[-1500:]}"]
            finally:
                shutil.rmtree(folder)
            print(" | ".join(row), f"  ({time.perf_counter() - start:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
