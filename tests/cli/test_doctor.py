"""`qengine doctor`: everything that a bug report needs, and a status that tells of wrong kernels."""

from __future__ import annotations

import json
import platform

import numpy as np
import pytest

from qengine.analysis import environment
from qengine.cli import main


def told(capsys, *words, status=0):
    assert main(["doctor", *words]) == status
    return capsys.readouterr().out


def test_the_report_names_machine_versions_and_settings(capsys, monkeypatch):
    monkeypatch.setenv("QENGINE_MADE_UP", "here")
    text = told(capsys, "--no-check")
    for part in (platform.python_version(), np.__version__, "QENGINE_MADE_UP", "generic", "memory", "compiled kernels"):
        assert part in text
    assert "the same bits" not in text


def test_every_kind_of_kernels_is_checked(capsys):
    found = json.loads(told(capsys, "--json"))
    assert [check["isa"] for check in found["checks"]] == found["isas"]
    assert all(check["is_equal"] for check in found["checks"])
    assert found["is_sound"]


def test_wrong_kernels_are_told(capsys, monkeypatch):
    wrong = iter([np.zeros(3), np.zeros(3), np.ones(3), np.zeros(3), np.zeros(3)])
    monkeypatch.setattr(environment.InferenceSession, "run", lambda *_, **__: [next(wrong)])
    text = told(capsys, status=1)
    assert text.count("OTHER BITS") == 1
    assert "please report" in text.splitlines()[-1]


def test_a_package_that_is_missing_is_told_with_its_extra(capsys, monkeypatch):
    monkeypatch.setattr(
        environment, "requires", lambda _: ["numpy>=1", "no-such-plot>=1; extra == 'plot'", "ruff; extra == 'lint'"]
    )
    text = told(capsys, "--no-check")
    assert "pip install 'qengine[plot]'" in text
    assert "ruff" not in text
    monkeypatch.setattr(environment, "requires", lambda _: ["no-such-package"])
    assert "missing: no-such-package" in told(capsys, "--no-check")


@pytest.mark.parametrize(("path", "shown"), [("/home/ann/x", "~/x"), ("/home/anna/x", "/home/anna/x")])
def test_the_home_folder_is_not_told(monkeypatch, path, shown):
    monkeypatch.setattr(environment.os.path, "expanduser", lambda _: "/home/ann")
    assert environment.with_tilde(path) == shown
