"""What the documentation shows is what happens: examples run, links lead somewhere, the README's table is printed."""

import doctest
import importlib
import inspect
import json
import pkgutil
import re
from pathlib import Path

import pytest

import qengine
from qengine import cli
from qengine.analysis.sweep import columns
from qengine.model.eager.evaluators import linear_algebra
from qengine.model.ops import functions

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("qengine/data/zoo/*.md")]
MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(qengine.__path__, "qengine.")
    # Rivals import what a user of the comparison installs.
    if module.name != "qengine.__main__" and not module.name.endswith("_runs")
]
EXAMPLES = [module for module in MODULES if ">>>" in inspect.getsource(module)]


@pytest.mark.parametrize("page", [page for page in PAGES if ">>>" in page.read_text()], ids=lambda page: page.name)
def test_examples_in_pages(page):
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize("module", EXAMPLES, ids=lambda module: module.__name__)
def test_examples_in_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize(
    ("page", "folder"),
    [
        ("development/architecture.md", "kernels"),
        ("development/architecture.md", "qengine/model"),
        ("development/architecture.md", "qengine/runtime"),
        ("development/architecture.md", "qengine/runtime/plan"),
        ("development/architecture.md", "qengine/deploy/c"),
        ("development/kernels.md", "qengine/runtime/native"),
    ],
)
def test_the_layout_names_every_file(page, folder):
    text = (ROOT / "docs" / page).read_text()
    names = [path.name for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"]
    assert not [name for name in names if not re.search(rf"\b{name}", text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


def test_the_readme_shows_what_its_command_prints(tmp_path, monkeypatch, capsys):
    (command,) = re.findall(r"pip install \. && qengine (run srcnn .*)", (ROOT / "README.md").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.main(command.split()) == 0
    printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert printed in (ROOT / "README.md").read_text()
    assert (tmp_path / "out.png").exists()


def test_the_readme_shows_what_inspect_prints(monkeypatch, capsys):
    (command,) = re.findall(r"`qengine (inspect digits\s.*?)` prints", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.main(command.split()) == 0
    printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert f"```\n{printed}\n```" in (ROOT / "README.md").read_text()


def test_the_page_on_blame_shows_what_its_command_prints(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs/how-to/which-layer.md").read_text()
    (calibrate,) = re.findall(r"^qengine (calibrate digits.*)", page, re.MULTILINE)
    (inspect_digits,) = re.findall(r"^qengine (inspect digits.*)", page, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.main(calibrate.split()) == 0
    formats = json.loads((tmp_path / "formats.json").read_text())
    (tmp_path / "broken.json").write_text(json.dumps({**formats, "block2.norm1": "Q6.1", "block2.relu1": "Q6.1"}))
    capsys.readouterr()
    assert cli.main(inspect_digits.split()) == 0
    printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert f"```\n{printed}\n```" in page
    assert (tmp_path / "relu1.png").exists()


def test_sweeps_shows_what_its_command_prints(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs/how-to/sweeps.md").read_text()
    assert "\nqengine sweep digits --bits 2-16 -o results\n" in page
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sweep", "digits", "--bits", "7,8", "-o", "results"]) == 0
    title, *table = capsys.readouterr().out.split("\n\n")[0].splitlines()
    rows = [line for line in table if line.split()[0] in ("float32", "7", "8")]
    assert f"{title}\n" in page

    def figures(line):  # but for the time that it took, and the share of inference
        words = line.split()
        return words[: -2 if words and words[-1].endswith("%") else -1]

    shown = [figures(line) for line in page.splitlines()]
    assert len(rows) == 3
    for row in rows:
        assert shown.count(figures(row)) == 1, row


def test_sweeps_has_every_column():
    listed = re.findall(
        r"^\| (`.*?) \|", (ROOT / "docs/how-to/sweeps.md").read_text().split("have these columns")[1], re.MULTILINE
    )
    assert tuple(re.findall(r"`(\w+)`", " ".join(listed))) == columns()


def test_the_operators_that_are_shown_are_those_that_there_are():
    page = (ROOT / "docs/development/adding-an-operator.md").read_text()
    shown = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for block, module, names in zip(
        shown, (functions, linear_algebra), (("operator", "Table"), ("evaluator", "ModelError")), strict=True
    ):
        imports, definition = block.split("\n\n\n")
        assert definition in inspect.getsource(module)
        namespace = {}
        exec(imports, namespace)
        assert [namespace[name] for name in names] == [getattr(module, name) for name in names]


def test_the_page_on_c_shows_what_the_export_prints(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs/how-to/c.md").read_text()
    (command,) = re.findall(r"^qengine (export c digits .*) --verify$", page, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.split()) == 0
    printed = capsys.readouterr().out
    assert re.search("^arena .*", printed, re.MULTILINE)[0] in page
    assert re.search("flash .* of weights and tables", printed)[0] in page
