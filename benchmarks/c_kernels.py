"""Speed of exported C: convolutions beside the loop that other generators emit, and instructions of a Cortex-M4.

    python benchmarks/c_kernels.py [--flags "-O3 -march=native"]... [--form NAME]... [--network NAME]... [--no-arm]

Prints, for each form and set of flags of gcc, billions of multiply-accumulates a second of one thread (CPU time, the
best of many runs, in turns): those of our code, and those of a loop that goes pixel by pixel and tests the bounds of
the image at every tap. Both compute the same codes. Where arm-none-eabi-gcc and qemu-system-arm are there, it also
prints the instructions for each multiply-accumulate on a Cortex-M4, which has instructions for pairs of numbers, and on
a Cortex-M3, which has not.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from math import prod
from pathlib import Path

import embedded_networks
import numpy as np
from onnx import helper, numpy_helper

from qengine import InferenceSession
from qengine.analysis.bench import interleaved
from qengine.analysis.bench.rivals import RivalSetup, rival_runs
from qengine.deploy.c.emit import source_files
from qengine.deploy.c.ir import Operation
from qengine.deploy.c.network import network_of

PORTS = Path(__file__).parents[1] / "tests" / "deploy" / "c" / "ports"
QEMU = (
    *("qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none"),
    *("-icount", "shift=0", "-chardev", "stdio,id=out"),
    *("-semihosting-config", "enable=on,target=native,chardev=out", "-kernel"),
)
FLAGS = ("-O2", "-O3", "-O3 -mavx2", "-O3 -march=native")


@dataclass(frozen=True)
class Form:
    """A convolution: channels, filters, kernel, side of the image, stride, groups."""

    inputs: int
    filters: int
    kernel: int
    side: int
    stride: int = 1
    groups: int = 1


FORMS = {
    "3x3 32->32 of 32x32": Form(32, 32, 3, 32),
    "1x1 64->64 of 16x16": Form(64, 64, 1, 16),
    "depthwise 3x3 64 of 32x32": Form(64, 64, 3, 32, groups=64),
    "3x3 3->16 of 96x96 by 2": Form(3, 16, 3, 96, stride=2),
}
ARM_FORMS = {
    "3x3 32->32 of 8x8": Form(32, 32, 3, 8),
    "1x1 64->64 of 8x8": Form(64, 64, 1, 8),
    "depthwise 3x3 32 of 8x8": Form(32, 32, 3, 8, groups=32),
    "3x3 1->8 of 16x16": Form(1, 8, 3, 16),
}

NAIVE = """
static int8_t naive_w[{filters} * {depth} * {kernel} * {kernel}];
static __attribute__((noinline)) void naive(const int8_t *x, int8_t *y) {{
    for (int32_t f = 0; f < {filters}; f++)
        for (int32_t oy = 0; oy < {out}; oy++)
            for (int32_t ox = 0; ox < {out}; ox++) {{
                int32_t sum = bias_of[f];
                for (int32_t c = 0; c < {depth}; c++)
                    for (int32_t ky = 0; ky < {kernel}; ky++)
                        for (int32_t kx = 0; kx < {kernel}; kx++) {{
                            const int32_t iy = oy * {stride} + ky - {pad}, ix = ox * {stride} + kx - {pad};
                            if (iy < 0 || iy >= {side} || ix < 0 || ix >= {side}) continue;
                            sum += x[((f / {per_group} * {depth} + c) * {side} + iy) * {side} + ix]
                                * naive_w[((f * {depth} + c) * {kernel} + ky) * {kernel} + kx];
                        }}
                sum = (sum + ((1 << {shift}) / 2 - 1) + ((sum >> {shift}) & 1)) >> {shift};
                y[(f * {out} + oy) * {out} + ox] = (int8_t)(sum < -128 ? -128 : sum > 127 ? 127 : sum);
            }}
}}
"""

FILL = """uint32_t state = 1;
    for (int i = 0; i < {in_size}; i++) {{
        state = state * 1103515245u + 12345u;
        planes[i] = (int8_t)(state >> 16);
        x[{x_at}] = planes[i];
    }}
    static const int8_t given[] = {{{numbers}}};
    for (int i = 0; i < (int)sizeof given; i++) naive_w[i] = given[i];
"""

HOST_MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static double seconds(void) {{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}}
int main(int argc, char **argv) {{
    static int8_t x[{in_size}], planes[{in_size}], y[{out_size}], z[{out_size}];
    static int64_t scratch[{scratch} / 8 + 1];
    double best[2] = {{1e9, 1e9}}, end = seconds() + atof(argv[argc - 1]);
    FILL
    while (seconds() < end) {{
        double a = seconds();
        {call};
        double b = seconds();
        naive(planes, z);
        double c = seconds();
        if (b - a < best[0]) best[0] = b - a;
        if (c - b < best[1]) best[1] = c - b;
    }}
    for (int i = 0; i < {out_size}; i++) if (y[{y_at}] != z[i]) {{ printf("differ at %d\\n", i); return 1; }}
    printf("%.9g %.9g\\n", best[0], best[1]);
    return 0;
}}
"""

ARM_MAIN = """
#include "port.h"
static int8_t x[{in_size}], planes[{in_size}], y[{out_size}], z[{out_size}];
static int64_t scratch[{scratch} / 8 + 1];
int main(void) {{
    char text[24];
    int at = 23;
    uint64_t start, count;
    FILL
    start = port_ticks();
    {call};
    count = port_ticks() - start;
    naive(planes, z);
    for (int i = 0; i < {out_size}; i++) if (y[{y_at}] != z[i]) return 1;
    text[at] = 0;
    do {{ text[--at] = (char)('0' + count % 10); count /= 10; }} while (count);
    port_text(text + at);
    return 0;
}}
"""


def model(form: Form, *, alone: bool) -> bytes:
    """Return a network with the convolution "y", between others unless it reads the image itself."""
    shape = (form.filters, form.inputs // form.groups, form.kernel, form.kernel)
    draws = np.random.default_rng(1)
    constants = {
        "w": (draws.integers(-127, 128, shape) / 64).astype(np.float32),
        "b": (draws.integers(-4000, 4000, form.filters) / 1024).astype(np.float32),
        "eye": np.eye(form.inputs, dtype=np.float32)[:, :, None, None],
        "end": np.eye(form.filters, dtype=np.float32)[:, :, None, None],
    }
    window = {"pads": [form.kernel // 2] * 4, "strides": [form.stride] * 2, "group": form.groups}
    nodes = [
        helper.make_node("Conv", ["image", "eye"], ["x"]),
        helper.make_node("Conv", ["image" if alone else "x", "w", "b"], ["y"], **window),
        helper.make_node("Conv", ["y", "end"], ["z"]),
    ]
    image = helper.make_tensor_value_info("image", 1, [1, form.inputs, form.side, form.side])
    graph = helper.make_graph(
        nodes[alone:],
        "form",
        [image],
        [helper.make_empty_tensor_value_info("z")],
        [numpy_helper.from_array(a, name) for name, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def exported(form: Form, folder: Path) -> tuple[Operation, tuple[np.ndarray, np.ndarray, int]]:
    """Write the network, and return the operation, its weights and bias as codes, and the bits that its sums drop."""
    session = InferenceSession(
        model(form, alone=form.inputs < 4), qformat="Q3.4", weight_qformat="Q1.6", isa="reference"
    )
    feeds = {"image": np.zeros((1, form.inputs, form.side, form.side), np.float32)}
    network = network_of(session, feeds)
    for name, text in source_files(network, "net").files.items():
        (folder / name).write_text(text)
    (one,) = (o for o in network.operations if o.output.name == "y")
    (step,) = (s for s in session.plans.whole_plan(session.check_feeds(feeds), None).steps if s.output.name == "y")
    bias = np.rint(step.step.b.value * 1024).astype(np.int64)
    return one, (step.step.w.codes, bias, 6)


def main_text(folder: Path, form: Form, one: Operation, codes: tuple[np.ndarray, np.ndarray, int], main: str) -> str:
    """Return the C of the program that measures."""
    weights, bias, shift = codes
    source = (folder / "net.c").read_text()
    (given,) = re.findall(r"^    net_step_y\((.*?)\);", source, re.MULTILINE | re.DOTALL)
    constants = [word for word in re.split(r",\s+", given) if word.startswith("net_")]
    scratch = ["(void *)scratch"] if one.scratch else []
    call = f"net_step_y({', '.join(['x', 'y', *scratch, *constants])})"
    out = -(-form.side // form.stride)
    x, y = one.reads[0], one.output
    names = {
        **vars(form),
        "depth": form.inputs // form.groups,
        "per_group": form.filters // form.groups,
        "pad": form.kernel // 2,
        "out": out,
        "shift": shift,
        "in_size": x.size,
        "out_size": y.size,
        "scratch": one.scratch,
        "numbers": ", ".join(map(str, weights.reshape(-1).tolist())),
        "call": call,
        "x_at": _place(x.shape, x.strides),
        "y_at": _place(y.shape, y.strides),
    }
    biases = ", ".join(map(str, bias.tolist()))
    head = f'#include "net.c"\nstatic const int32_t bias_of[] = {{{biases}}};'
    return "\n".join([head, NAIVE.format(**names), main.replace("FILL", FILL).format(**names)])


def _place(shape: tuple[int, ...], strides: tuple[int, ...]) -> str:
    """Return C for the place in memory of the element i of ONNX's order."""
    terms, step = [], 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        terms.append(f"i / {step} % {length} * {stride}")
        step *= length
    return " + ".join(terms)


def measured(name: str, form: Form, flags: str, seconds: float) -> str:
    """Return the line for a form and flags on this machine."""
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        one, codes = exported(form, folder)
        (folder / "main.c").write_text(main_text(folder, form, one, codes, HOST_MAIN))
        command = ["gcc", "-std=gnu99", *flags.split(), "main.c", "net_weights.c", "-o", "main"]
        subprocess.run(command, cwd=folder, check=True)
        done = subprocess.run([str(folder / "main"), str(seconds)], capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{name:28} {flags:20} {done.stdout}"
        ours, naive = map(float, done.stdout.split())
    macs = prod(one.output.shape) * form.inputs // form.groups * form.kernel**2
    rates = [macs / t * 1e-9 for t in (ours, naive)]
    return f"{name:28} {flags:20} {rates[0]:7.1f} GMAC/s, the loop {rates[1]:5.2f}: {rates[0] / rates[1]:5.1f}x"


def whole(name: str, flags: str, seconds: float) -> str:
    """Return the line for a network beside ONNX Runtime's int8, one thread, CPU time, in turns."""
    one = embedded_networks.EMBEDDED[name]()
    session = InferenceSession(one.model, qformat="Q3.4", isa="reference")
    feeds = one.feeds[0]
    network = network_of(session, feeds)
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        sources = source_files(network, "net").files
        for file, text in sources.items():
            (folder / file).write_text(text)
        names = [file for file in sources if file.endswith(".c")]
        command = ["gcc", "-std=c99", *flags.split(), "-shared", "-fPIC", *names, "-o", "net.so"]
        subprocess.run(command, cwd=folder, check=True)
        run_in = ctypes.CDLL(str(folder / "net.so")).net_run
        tensors = [np.zeros(t.size, t.dtype) for t in (*network.inputs, *network.outputs)]
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in tensors]
        path = folder / "model.onnx"
        path.write_bytes(one.model if isinstance(one.model, bytes) else Path(one.model).read_bytes())
        rivals = rival_runs(["onnxruntime"], RivalSetup(path, feeds, 8, 1))
        runs = {"C": lambda: run_in(*pointers)} | {rival: run for rival, run in rivals.items() if callable(run)}
        times = {key: t.best_ms for key, t in interleaved(runs, seconds, clock=time.process_time).items()}
    rival = times.get("onnxruntime")
    ratio = "" if rival is None else f", ONNX Runtime int8 {rival:.3f} ms: {rival / times['C']:.2f}x"
    return f"{name:28} {flags:20} {times['C']:.3f} ms{ratio}"


def counted(name: str, form: Form, core: str, flags: str) -> str:
    """Return the line for a form on a Cortex-M in QEMU."""
    memory = "flash=0,flash_size=0x400000,ram=0x20000000,ram_size=0x400000,stack_size=4096"
    symbols = [f"-Wl,--defsym=port_{word}" for word in memory.split(",")]
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        one, codes = exported(form, folder)
        (folder / "main.c").write_text(main_text(folder, form, one, codes, ARM_MAIN))
        command = ["arm-none-eabi-gcc", "-std=gnu99", f"-mcpu={core}", "-mthumb", *flags.split(), "-w", "-nostartfiles"]
        command += ["-DPORT_PICOSECONDS=40000U", f"-I{PORTS}", "main.c", "net_weights.c"]
        command += [str(PORTS / "cortex_m.c"), "-T", str(PORTS / "cortex_m.ld"), *symbols, "--specs=nano.specs"]
        subprocess.run([*command, "-o", "main.elf"], cwd=folder, check=True)
        done = subprocess.run([*QEMU, "main.elf"], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    macs = prod(one.output.shape) * form.inputs // form.groups * form.kernel**2
    return f"{name:28} {core} {flags:10} {int(done.stdout) / macs:6.2f} instructions a MAC"


def main() -> int:
    """Print all lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--flags", action="append")
    parser.add_argument("--form", action="append", help="forms whose name contains this")
    parser.add_argument("--network", action="append", default=[], help="one of embedded_networks, whole")
    parser.add_argument("--no-arm", action="store_true")
    given = parser.parse_args()
    wanted = given.form or [""]
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(cpu[0].partition(": ")[2] if cpu else "unknown CPU")
    for name, form in FORMS.items():
        if any(word in name for word in wanted):
            for flags in given.flags or FLAGS:
                print(measured(name, form, flags, given.seconds), flush=True)
    for name in given.network:
        for flags in given.flags or FLAGS:
            print(whole(name, flags, 4 * given.seconds), flush=True)
    if given.no_arm or not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))):
        return 0
    for name, form in ARM_FORMS.items():
        if any(word in name for word in wanted):
            for core in ("cortex-m4", "cortex-m3"):
                for flags in ("-O2", "-O3"):
                    print(counted(name, form, core, flags), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
