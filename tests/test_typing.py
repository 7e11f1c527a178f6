"""The public names have types that a program of a user can rely on."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_a_program_of_a_user_passes_mypy():
    pytest.importorskip("mypy")
    words = [sys.executable, "-m", "mypy", "--strict", "tests/typed_program.py"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
