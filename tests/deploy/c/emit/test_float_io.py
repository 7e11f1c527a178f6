"""Floats become the codes of the runtime in C: ties, rails, infinities, denormals, in all roundings and overflows."""

import subprocess
from dataclasses import replace

import numpy as np
from deploy.c.running import needs_gcc
from deploy.c.small_nets import functions

import qengine
from qengine.deploy.c.emit.float_io import definitions
from qengine.deploy.c.network import network_of
from qengine.kernels.reference.requantize import dequantize, quantize
from qengine.kernels.reference.rounding_table import ROUNDINGS
from qengine.model.rules import Rules
from qengine.qformat import QFormat
from qengine.targets.origin import Origin
from qengine.targets.rules_mapping import rules_over

FORMATS = ("Q3.4", "UQ0.8", "Q-2.9", "Q8.-1", "Q4.11", "UQ16.0", "Q115.-112", "Q-142.149", "Q1.0")
OVERFLOWS = ("saturate", "symmetric", "wrap", "zero")

MAIN = """
static float in[8192];
static int32_t out[8192];
#define RUN(code, from, to, n) do { \\
    FILE *file = fopen(from, "rb"); \\
    size_t i; \\
    if (file == NULL || fread(in, 4, n, file) != n) return 1; \\
    fclose(file); \\
    for (i = 0; i < n; i++) out[i] = code(in[i]); \\
    file = fopen(to, "wb"); \\
    fwrite(out, 4, n, file); \\
    fclose(file); \\
} while (0)
int main(void) {
    const uint32_t bits = 0x7FC00000;
    float nan;
    int c;
    memcpy(&nan, &bits, 4);
    CALLS
    for (c = -128; c < 128; c++) printf("%.9g\\n", (double)n0_y_value((int8_t)c));
    printf("%d\\n", n0_x_code(nan));
    return 0;
}
"""


def values(fmt):
    random = np.random.default_rng(0)
    halves = np.arange(-600, 600) / 2.0
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.concatenate([halves, halves + 0.01, halves - 0.01, [2.0**k for k in range(10, 40)]])
        real = np.ldexp(scaled, -fmt.fraction_bits).astype(np.float32)
        bits = random.integers(0, 1 << 32, 2000, np.uint64).astype(np.uint32).view(np.float32)
    special = np.float32([0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 3e38, -3e38, 1.1754942e-38])
    found = np.concatenate([real, bits, special])
    return found[~np.isnan(found)]


def cases():
    """Yield formats and rules: all formats in one rounding, and one format in all roundings and overflows."""
    for fmt in FORMATS:
        for overflow in OVERFLOWS:
            yield QFormat.parse(fmt), "half_even", overflow
    for rounding in ROUNDINGS:
        yield QFormat.parse("Q3.4"), rounding, "saturate"
        yield QFormat.parse("Q3.4"), rounding, "wrap"


def rules_of(rounding, overflow):
    given = {"inputs.rounding": rounding, "inputs.overflow": overflow}
    return rules_over(Rules(), given, Origin("test"), complete=False)


@needs_gcc
def test_codes_and_values(tmp_path):
    parts, calls, expected = ["#include <stdint.h>", "#include <stdio.h>", "#include <string.h>"], [], []
    session = qengine.InferenceSession(functions(shape=(1, 3, 4)), qformat="Q3.4")
    plain = network_of(session, {"x": np.zeros((1, 3, 4), np.float32)})
    for number, (fmt, rounding, overflow) in enumerate(cases()):
        rules = rules_of(rounding, overflow)
        (x,) = plain.inputs
        net = replace(plain, inputs=(replace(x, format=fmt, dtype=fmt.dtype),))
        name = f"n{number}"
        parts += [f"#define N{number}_FLOAT_IO", definitions(net, rules, name)]
        given = values(fmt)
        (tmp_path / f"{name}.bin").write_bytes(given.tobytes())
        calls.append(f'RUN({name}_x_code, "{name}.bin", "{name}.out", {given.size});')
        word = rules.of("inputs", "x").word(fmt)
        assert word.rounding == rounding
        expected.append(quantize(given, fmt.fraction_bits, word).astype(np.int32))
    codes = np.arange(-128, 128)
    parts.append(MAIN.replace("CALLS", "\n    ".join(calls)))
    (tmp_path / "main.c").write_text("\n".join(parts))
    flags = "-std=c99 -Wall -Wextra -Wconversion -Wno-conversion -fsanitize=undefined -fno-sanitize-recover=all"
    subprocess.run(
        f"gcc {flags} -fno-sanitize=float-divide-by-zero main.c -o main", shell=True, cwd=tmp_path, check=True
    )
    printed = subprocess.run(["./main"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.split()
    for number, (case, codes_expected) in enumerate(zip(cases(), expected, strict=True)):
        found = np.fromfile(tmp_path / f"n{number}.out", np.int32)
        wrong = np.flatnonzero(found != codes_expected)
        assert not wrong.size, (case, values(case[0])[wrong[:3]], found[wrong[:3]], codes_expected[wrong[:3]])
    np.testing.assert_array_equal(np.float32(printed[:-1]), dequantize(codes.astype(np.int8), 4))
    assert printed[-1] == "0"


def test_every_rounding_of_real_numbers_has_a_rule():
    from qengine.deploy.c.emit.float_io import _UP
    from qengine.kernels.reference.rounding_table import unshifted

    assert {unshifted(rounding) for rounding in ROUNDINGS} <= set(_UP)
