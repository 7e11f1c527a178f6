"""The tutorial from torch to a Cortex-M4: its commands do what the page says, on a network that is hardly trained."""

import importlib.util
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from qengine import cli

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "cortex-m4"
PAGE = (ROOT / "docs/tutorials/cortex-m4.md").read_text()
PROGRAMS = ("make", "gcc", "arm-none-eabi-gcc", "qemu-system-arm")
COMMANDS = re.findall(r"^(?:python|qengine|make|arm-none-eabi-gcc|qemu-system-arm) .*", PAGE, re.MULTILINE)


def trained(monkeypatch):
    """Train as `python train.py` does, but shortly."""
    spec = importlib.util.spec_from_file_location("train", EXAMPLE / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "EPOCHS", 1)
    module.main()


def test_there_are_ten_commands_and_all_files():
    assert len(COMMANDS) == 10
    listed = re.findall(r"`([\w.]+)`", "".join(line for line in PAGE.splitlines() if line.startswith("| `")))
    assert {path.name for path in EXAMPLE.iterdir() if path.is_file()} <= set(listed)


def test_the_commands_run(tmp_path, monkeypatch, capfd):
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        pytest.skip(f"needs {', '.join(absent)}")
    for path in EXAMPLE.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    printed = {}
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] == "python":
            trained(monkeypatch)
        elif words[0] == "qengine":
            assert cli.main(words[1:]) == 0, command
        else:
            done = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, timeout=120)
            assert done.returncode == 0, command
        printed[command] = "".join(capfd.readouterr())
    _, _, _, export, check, _, run, *_, compare = (printed[command] for command in COMMANDS)
    assert re.search(r"9 tensors x \d+ samples equal", export)
    assert "net: all 9 tensors are right" in check
    assert re.search(r"^\d+ of 10 are right", run, re.MULTILINE)
    assert "Equal: all 9,482 codes of 9 tensors." in compare
