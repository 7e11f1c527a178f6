"""Reports of the models of each kind, made once."""

import pytest
from html_report.models import KINDS

import qengine


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Return a function that returns the report of a kind of model, and the page as text."""
    made = {}

    def report(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            model, data = KINDS[kind]().written(folder)
            result = qengine.report(model, data, folder / "report.html", quick=True, curve=[4, 8], targets=["onnx"])
            made[kind] = result, result.path.read_text(encoding="utf-8")
        return made[kind]

    return report
