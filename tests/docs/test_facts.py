"""Facts that pages state: links lead somewhere, pictures are shown, layouts name every file, tables every column."""

import inspect
import os
import re
from pathlib import Path

import pytest
from generators import all_pages

from qengine.analysis.sweep import columns
from qengine.model.eager.evaluators import linear_algebra
from qengine.model.ops import functions

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("qengine/data/zoo/*.md")]


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
    made = {ROOT / "docs" / name for name in all_pages()}
    places = [Path(os.path.normpath(page.parent / link)) for link in links if "://" not in link]
    assert not [place for place in places if not place.exists() and place not in made]


def test_every_picture_is_shown():
    shown = {name for page in PAGES for name in re.findall(r"images/([\w./-]+)", page.read_text())}
    assert {path.name for path in (ROOT / "docs/images").iterdir()} <= shown


def test_the_tutorial_on_c_has_ten_commands_and_lists_all_files():
    page = (ROOT / "docs/tutorials/cortex-m4.md").read_text()
    assert len(re.findall(r"^(?:python|qengine|make|arm-none-eabi-gcc|qemu-system-arm) .*", page, re.MULTILINE)) == 10
    listed = re.findall(r"`([\w.]+)`", "".join(line for line in page.splitlines() if line.startswith("| `")))
    assert {path.name for path in (ROOT / "examples/cortex-m4").iterdir() if path.is_file()} <= set(listed)


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
