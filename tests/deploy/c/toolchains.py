"""Compilers and machines that run exported C: how a program is compiled, and how it runs.

Each `Toolchain` names the Debian packages that it needs; `install_toolchains.sh` installs all of them. A test takes one
by `built` and `Program.output`, and is skipped where a program of its packages is not on the PATH. What a program needs
of a machine, a console and a count of instructions, is a file of `ports/`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PORTS = Path(__file__).parent / "ports"
SECONDS = 240
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-pedantic", "-Werror"]
C99 = ("-std=c99", *WARNINGS)
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


class Failure(AssertionError):  # noqa: N818
    """A program that was not compiled or did not end well; the message has the command and its output."""

    @property
    def is_of_size(self) -> bool:
        """Whether the program is too large for the machine."""
        return (
            re.search("not within region|too little memory|will not fit|overflowed|array .* is too large", str(self))
            is not None
        )


@dataclass(frozen=True)
class Toolchain:
    """A compiler with flags, and the machine that runs what it makes.

    Attributes
    ----------
    name : name.
    packages : Debian packages of the programs.
    compiler : program that compiles and links, with its flags.
    runs : command that runs the program, whose path replaces "PROGRAM".
    port : file of the machine in `ports`.
    flash, ram : bytes of constants and code, and of data with the stack; None where they do not matter.
    links : flags after the files.
    environment : variables of the run.
    defines : macros of the networks, without their prefix.
    """

    name: str
    packages: tuple[str, ...]
    compiler: tuple[str, ...]
    runs: tuple[str, ...] = ("PROGRAM",)
    port: str = "host.c"
    flash: int | None = None
    ram: int | None = None
    links: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    defines: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """The reason why it cannot be used here; empty if it can."""
        programs = [self.compiler[0], *(program for program in self.runs[:1] if program != "PROGRAM")]
        absent = [program for program in programs if shutil.which(program) is None]
        if absent:
            return f"{self.name} needs {' and '.join(absent)}: apt-get install {' '.join(self.packages)}"
        return (
            "" if _compiles(self) else f"{self.name} compiles nothing here: apt-get install {' '.join(self.packages)}"
        )

    def built(self, folder: Path, sources: Iterable[Path], flags: Iterable[str] = ()) -> Program:
        """Return the program of C files, compiled in a folder.

        Raises
        ------
        Failure
            If a file does not compile.
        """
        path = folder / f"{self.file_name}.elf"
        files = [str(self._object(source) if source.stem.endswith("_weights") else source) for source in sources]
        self._compile(folder, [*flags, *files, str(PORTS / self.port), *self.links, "-o", str(path)])
        return Program(self, path)

    @property
    def file_name(self) -> str:
        """The name for files."""
        return re.sub("[^A-Za-z0-9]+", "_", self.name)

    def _object(self, source: Path) -> Path:
        """Return a file of constants, which is as large as a network, compiled once for all programs."""
        found = source.with_name(f"{source.stem}_{self.file_name}.o")
        if not found.exists():
            self._compile(source.parent, ["-c", str(source), "-o", str(found)])
        return found

    def _compile(self, folder: Path, arguments: Iterable[str]) -> None:
        command = [*self.compiler, f"-I{PORTS}", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            raise Failure(f"{' '.join(command)}\n{done.stderr[-6000:]}")


@dataclass(frozen=True)
class Program:
    """A compiled program.

    Attributes
    ----------
    toolchain : what compiled it.
    path : its file.
    """

    toolchain: Toolchain
    path: Path

    def output(self, seconds: int = SECONDS) -> str:
        """Run it and return what it prints.

        Raises
        ------
        Failure
            If it does not end, or ends with an error.
        """
        command = [str(self.path) if part == "PROGRAM" else part for part in self.toolchain.runs]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=seconds, env=dict(self.toolchain.environment) or None
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"{' '.join(command)}\ndid not end in {seconds} s") from None
        text = _serial(done.stderr) if self.toolchain.port == "avr.c" else done.stdout.decode(errors="replace")
        if done.returncode != 0:
            raise Failure(
                f"{' '.join(command)}\nexit code {done.returncode}\n{text[-500:]}\n{done.stderr.decode()[-6000:]}"
            )
        return text


def _serial(data: bytes) -> str:
    """Return what simavr shows of a serial port: coloured, broken into short lines, with a point for a line feed."""
    plain = re.sub(r"\x1b\[[0-9;]*m|\n", "", data.decode(errors="replace"))
    return plain.replace(".", "\n")


_SEMIHOSTING = (
    *("-display", "none", "-monitor", "none", "-serial", "none", "-icount", "shift=0"),
    *("-chardev", "stdio,id=out", "-semihosting-config", "enable=on,target=native,chardev=out"),
)


@cache
def _compiles(toolchain: Toolchain) -> bool:
    """Return whether a program can be linked: a compiler may be there without its library."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "main.c"
        source.write_text('#include <string.h>\n#include "port.h"\nint main(void) { port_text("x"); return 0; }\n')
        try:
            toolchain.built(Path(name), [source])
        except Failure:
            return False
    return True


def _cortex(core: str, machine: str, memory: str, picoseconds: int, *flags: str) -> Toolchain:
    """Return a Cortex-M on a board of QEMU, whose memory is "flash start, flash size, ram start, ram size"."""
    parts = [int(part, 0) for part in memory.split(",")]
    names = ("port_flash", "port_flash_size", "port_ram", "port_ram_size")
    return Toolchain(
        f"Cortex-{core}",
        ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi", "qemu-system-arm"),
        (
            *("arm-none-eabi-gcc", "-O2", "-ffreestanding", "-mthumb", f"-mcpu=cortex-{core.lower()}", *flags, *C99),
            f"-DPORT_PICOSECONDS={picoseconds}U",
        ),
        ("qemu-system-arm", "-M", machine, *_SEMIHOSTING, "-kernel", "PROGRAM"),
        "cortex_m.c",
        parts[1],
        parts[3],
        (
            *("-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-T", str(PORTS / "cortex_m.ld")),
            *(f"-Wl,--defsym={name}={value}" for name, value in zip(names, parts, strict=True)),
            "-Wl,--defsym=port_stack_size=2048,--no-warn-rwx-segments",
        ),
    )


def _riscv(name: str, bits: int, architecture: str, abi: str) -> Toolchain:
    flash, ram = {"flash": 0x80000000, "flash_size": 0x800000}, {"ram": 0x80800000, "ram_size": 0x1000000}
    memory = {**flash, **ram, "stack_size": 0x4000}
    return Toolchain(
        name,
        ("gcc-riscv64-unknown-elf", "picolibc-riscv64-unknown-elf", "qemu-system-misc"),
        (
            *("riscv64-unknown-elf-gcc", "-O2", f"-march={architecture}", f"-mabi={abi}", "-mcmodel=medany"),
            *("--specs=picolibc.specs", *C99),
        ),
        (f"qemu-system-riscv{bits}", "-M", "virt", "-bios", "none", *_SEMIHOSTING, "-kernel", "PROGRAM"),
        "riscv.c",
        links=(
            "--oslib=semihost",
            "--crt0=hosted",
            *(f"-Wl,--defsym=__{key}={value:#x}" for key, value in memory.items()),
        ),
    )


_AVR_STACK = 1536  # bytes of memory that a program leaves free


def _avr(device: str, flash: int, ram: int) -> Toolchain:
    return Toolchain(
        f"AVR {device}",
        ("gcc-avr", "avr-libc", "simavr"),
        ("avr-gcc", "-O1", f"-mmcu={device}", "-DF_CPU=16000000UL", "-Dmain=port_main", *C99),
        ("simavr", "-m", device, "-f", "16000000", "PROGRAM"),
        "avr.c",
        flash,
        ram,
        (f"-Wl,--defsym=__DATA_REGION_LENGTH__={ram - _AVR_STACK}",),
    )


_GCC, _CLANG = ("gcc", "libc6-dev"), ("clang", "libclang-rt-14-dev", "libc6-dev")
_STRICT = (("ASAN_OPTIONS", "detect_leaks=0"), ("UBSAN_OPTIONS", "print_stacktrace=1"), ("PATH", "/usr/bin:/bin"))

TOOLCHAINS: dict[str, Toolchain] = {
    one.name: one
    for one in (
        *(Toolchain(f"gcc {level}", _GCC, ("gcc", level, *C99)) for level in ("-O0", "-O1", "-O2", "-O3", "-Os")),
        Toolchain("gcc -O3 native", _GCC, ("gcc", "-O3", "-march=native", *C99)),
        Toolchain("gcc sanitizers", _GCC, ("gcc", "-O0", *SANITIZERS, *C99), environment=_STRICT, defines=("SMALL",)),
        Toolchain("gcc -O0 NET_SMALL", _GCC, ("gcc", "-O0", *C99), defines=("SMALL",)),
        Toolchain("gcc NET_SMALL", _GCC, ("gcc", "-Os", *C99), defines=("SMALL",)),
        Toolchain("gcc -std=c11 unsigned char", _GCC, ("gcc", "-O2", "-std=c11", "-funsigned-char", *WARNINGS)),
        Toolchain("g++", ("g++", "libc6-dev"), ("g++", "-O2", "-std=c++17", *WARNINGS)),
        Toolchain("gcc -m32", (*_GCC, "lib32gcc-12-dev", "libc6-dev-i386"), ("gcc", "-O2", "-m32", *C99)),
        Toolchain("clang", _CLANG, ("clang", "-O2", *C99)),
        Toolchain("clang++", _CLANG, ("clang++", "-O2", "-std=c++17", "-x", "c++", *WARNINGS)),
        Toolchain("clang sanitizers", _CLANG, ("clang", "-O1", *SANITIZERS, *C99), environment=_STRICT),
        Toolchain("tcc", ("tcc", "libc6-dev"), ("tcc", "-Wall", "-Werror")),
        Toolchain(
            "s390x (big-endian)",
            ("gcc-s390x-linux-gnu", "libc6-dev-s390x-cross", "qemu-user-static"),
            ("s390x-linux-gnu-gcc", "-O2", "-static", *C99),
            ("qemu-s390x-static", "PROGRAM"),
        ),
        _cortex("M0", "microbit", "0,0x40000,0x20000000,0x4000", 62500),
        _cortex("M3", "mps2-an385", "0,0x400000,0x20000000,0x400000", 40000),
        _cortex("M4", "mps2-an386", "0,0x400000,0x20000000,0x400000", 40000),
        _cortex("M33", "mps2-an505", "0x10000000,0x400000,0x38000000,0x400000", 50000),
        _cortex("M55", "mps3-an547", "0,0x80000,0x20000000,0x80000", 31250, "-mfloat-abi=hard"),
        _riscv("RISC-V 64", 64, "rv64imac", "lp64"),
        _riscv("RISC-V 32", 32, "rv32imac", "ilp32"),
        _avr("atmega1284p", 0x20000, 0x4000),
    )
}
"""All toolchains by name."""


def toolchain(name: str) -> Toolchain:
    """Return a toolchain; skip the test that asks for it where it cannot be used."""
    found = TOOLCHAINS[name]
    if reason := found.missing:
        pytest.skip(reason)
    return found


def packages() -> list[str]:
    """Return the Debian packages of all toolchains and of the checker."""
    return sorted({package for one in TOOLCHAINS.values() for package in one.packages} | {"cppcheck"})
