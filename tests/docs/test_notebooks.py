"""Notebooks run, and show what is committed with them."""

import pytest
from docs.pages import ROOT

from docs import notebooks

PATHS = sorted(ROOT.glob("docs/**/*.ipynb"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_notebook_shows_what_its_cells_print(path, tmp_path, monkeypatch):
    monkeypatch.delenv("QENGINE_ISA", raising=False)
    monkeypatch.chdir(tmp_path)
    notebook = notebooks.read(path)
    shown = notebooks.run(notebook)
    assert {i: notebooks.committed(notebook["cells"][i]) for i in shown} == shown


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_notebook_keeps_nothing_of_the_run_that_made_it(path):
    notebook = notebooks.read(path)
    shown = {i: notebooks.committed(cell) for i, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code"}
    assert notebooks.with_outputs(notebook, shown) == notebook


def test_a_cell_shows_what_it_prints_and_the_value_at_its_end():
    cells = [{"cell_type": "code", "source": [one], "outputs": []} for one in ("x = 1\nprint(x)\nx + 1", "x", "None")]
    assert notebooks.run({"cells": cells}) == {0: "1\n2\n", 1: "1\n", 2: ""}
