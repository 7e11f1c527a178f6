"""The machine that something is measured on: its processor, how busy it is, and how fast its clock is."""

import ctypes
import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qengine.threads import available_threads

_BUSY = 0.3  # load of a core that shows in times
_SLOW = 0.8  # of the highest clock
_CLOCK = Path("/sys/devices/system/cpu/cpu0/cpufreq")


@dataclass(frozen=True)
class MachineState:
    """Processor, load and clock at one moment; None for what the system does not tell.

    Attributes
    ----------
    cpu : name of the processor.
    cores : number of cores that this process may use.
    load : processes that ran or waited for a core in the last minute, on average.
    running : number of other processes and threads that run at this moment.
    clock, highest_clock : MHz of the first core.
    governor : rule by which the system chooses the clock.
    """

    cpu: str
    cores: int
    load: float | None
    running: int | None
    clock: float | None
    highest_clock: float | None
    governor: str | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on causes of times that are longer than on an idle machine."""
        found = []
        if self.load is not None and self.load > _BUSY * self.cores:
            what = "1 other process runs" if self.running == 1 else f"{self.running} other processes run"
            others = f", {what} now" if self.running else ""
            found.append(
                f"the machine is busy: a load of {self.load:.1f} on {self.cores} {_cores(self.cores)}{others}; "
                "times may be too long, and their ratios are safer than they are"
            )
        if self.governor == "powersave" and not (self.clock and self.highest_clock):
            found.append("the clock is kept low (powersave)")
        if self.clock and self.highest_clock and self.clock < _SLOW * self.highest_clock:
            found.append(f"the clock is at {self.clock:.0f} of {self.highest_clock:.0f} MHz")
        return tuple(found)


def machine_state() -> MachineState:
    """Return the state of the machine now."""
    return MachineState(
        cpu=cpu_name(),
        cores=available_threads(),
        load=load_average(),
        running=_running(),
        clock=_megahertz("scaling_cur_freq"),
        highest_clock=_megahertz("cpuinfo_max_freq"),
        governor=_read(_CLOCK / "scaling_governor"),
    )


def cpu_name() -> str:
    """Return the name of the processor."""
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        size, name = ctypes.c_size_t(256), ctypes.create_string_buffer(256)
        library = ctypes.CDLL(None)
        if not library.sysctlbyname(b"machdep.cpu.brand_string", name, ctypes.byref(size), None, 0):
            return name.value.decode(errors="replace")
    return platform.processor() or platform.machine()


def load_average() -> float | None:
    """Return the load of the last minute; None where the system has none."""
    with suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None


def _running() -> int | None:
    parts = (_read(Path("/proc/loadavg")) or "").split()
    running = parts[3].partition("/")[0] if len(parts) > 3 else ""
    return max(0, int(running) - 1) if running.isdigit() else None


def _megahertz(name: str) -> float | None:
    text = _read(_CLOCK / name)
    return int(text) / 1000 if text and text.isdigit() else None


def _read(path: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return None


def _cores(count: int) -> str:
    return "core" if count == 1 else "cores"
