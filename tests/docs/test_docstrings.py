"""Examples in docstrings run."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import qengine

MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(qengine.__path__, "qengine.")
    # Rivals import what a user of the comparison installs.
    if module.name != "qengine.__main__" and not module.name.endswith("_runs")
]
EXAMPLES = [module for module in MODULES if ">>>" in inspect.getsource(module)]


@pytest.mark.parametrize("module", EXAMPLES, ids=lambda module: module.__name__)
def test_examples_in_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0
