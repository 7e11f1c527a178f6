"""What can be checked of style: docstrings are sentences, names are the field's, files and functions stay small.

`python tests/test_style.py` lists every place that is to be mended.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    [*ROOT.glob("kernels/**/*.py"), *(p for p in ROOT.glob("qengine/**/*.py") if "kernels" not in p.parts)]
)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MAX_LINES = 400
MAX_PARAMETERS = 12

# A docstring that begins with one of these is a fragment or a riddle, not a sentence that says what a thing is or does.
FRAGMENT = re.compile(
    r"(Of|What|That|Those|Which|Where|When|How|As|So|Told|In|For|By|From|To|Its|Their|Such|Beside|Same"
    r"|It|They|One|This|These|There|Not|No|Also|Whatever) "
)
# An entry of a section that needs the name above it to be read, or begins with a pronoun.
ENTRY = re.compile(
    r"(of|that of|those of|as|what|how|which|who|whose|where|when|for which|in which|for|by|none"
    r"|returns?|called|give|make|refuse|feed|expand|it|they|them|its|their|this|these|those|that|one"
    r"|so|also|the same|same|such|another|other|both)\b",
    re.IGNORECASE,
)
# Words of a private dialect, for which the field has words of its own.
BANNED = re.compile(
    r"\b(judged?|judges|lightened|harm(ful)?|told|riddles?|end_of_it|SpentError|MOST_ELEMENTS|became 0|"
    r"class (Found|Made|Held|Place|Recent|(Few|Enter|Leave|Down|Along)\w*))\b"
)
# Old-fashioned or vague phrases, for which plain technical English has shorter ones.
PHRASE = re.compile(
    r"\b(so many|whatever|goes? on\b(?! with)|at hand|if need be|anew|for ever|be it|the like|kin|wings?|nevertheless"
    r"|(is|are|be) to be|still to be|takes? in\b|beside|twins?|all the same|(first|second) cache|thereby|hence"
    r"|so that (no|nothing|none)|(?<!as far )as (it is|they are)(?=[.,;:)\"]|$| where\b| and\b| or\b)"
    r"|(?<![Tt]here )(is|are) no (?!longer)|behind|for (people|a person)|asks for)\b"
)
SECTIONS = ("Attributes", "Parameters", "Returns", "Yields")


def places(tree):
    """Yield (line, name, docstring) of a module, its classes and its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), getattr(node, "name", "module"), text


def entries(text):
    """Yield the descriptions in the Attributes and Parameters sections of a docstring."""
    lines, section = text.splitlines(), None
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[i + 1]):
            section = line
        elif section in SECTIONS and line and not re.fullmatch(r"-{3,}", line):
            named = re.match(r"\w[\w, .`*]* : (.*)", line)
            if named:
                yield named[1]
            elif (
                line.startswith("    ") and re.fullmatch(r"[\w*, ]+", lines[i - 1]) and not lines[i - 1].startswith(" ")
            ):
                yield line.strip()


def fragments(path):
    """Return "file:line name: text" of every docstring that is no sentence."""
    found = []
    for line, name, text in places(ast.parse(path.read_text())):
        first = text.splitlines()[0]
        bad = [first] if FRAGMENT.match(first) else []
        bad += [entry for entry in entries(text) if ENTRY.match(entry)]
        found += [f"{path.relative_to(ROOT)}:{line} {name}: {one}" for one in bad]
    return found


def banned(path):
    """Return "file:line: text" of every line with a word of a private dialect."""
    return [
        f"{path.relative_to(ROOT)}:{i}: {line.strip()}"
        for i, line in enumerate(path.read_text().splitlines(), 1)
        if BANNED.search(line)
    ]


def vague(path):
    """Return "file:line: text" of every line with an old-fashioned or vague phrase."""
    return [
        f"{path.relative_to(ROOT)}:{i}: {line.strip()}"
        for i, line in enumerate(path.read_text().splitlines(), 1)
        if PHRASE.search(line)
    ]


def large(path):
    """Return what is too large in a file: the file itself, or the parameters of a function."""
    text = path.read_text()
    found = [f"{path.relative_to(ROOT)}: {n} lines"] if (n := len(text.splitlines())) > MAX_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            count = sum(map(len, (arguments.posonlyargs, arguments.args, arguments.kwonlyargs)))
            count += (arguments.vararg is not None) + (arguments.kwarg is not None)
            if count > MAX_PARAMETERS:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {count} parameters")
    return found


def test_docstrings_are_sentences():
    assert not [place for path in SOURCES for place in fragments(path)]


def test_names_and_prose_are_the_fields():
    assert not [place for path in [*SOURCES, *PAGES] for place in banned(path)]


def test_prose_is_plain():
    assert not [place for path in SOURCES for place in vague(path)]


def test_files_and_functions_stay_small():
    tests = sorted(ROOT.glob("tests/**/*.py"))
    assert not [place for path in SOURCES for place in large(path)]
    assert not [f"{p.relative_to(ROOT)}" for p in tests if len(p.read_text().splitlines()) > MAX_LINES]


CLASS = 'class A:\n    """A thing.\n\n    Attributes\n    ----------\n    size : {}\n    """'
FUNCTION = 'def f(a):\n    """Do it.\n\n    Parameters\n    ----------\n    a\n        {}\n    """'


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('"""Of the inputs."""', 1),
        ('"""The inputs."""', 0),
        (CLASS.format("of it."), 1),
        (CLASS.format("the size of it."), 0),
        (FUNCTION.format("As of `g`."), 1),
        (FUNCTION.format("Number of things\n        of that kind."), 0),
    ],
)
def test_the_check_itself(tmp_path, monkeypatch, text, count):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "a.py").write_text(text)
    assert len(fragments(tmp_path / "a.py")) == count


if __name__ == "__main__":
    for source in [*SOURCES, *PAGES]:
        checks = (fragments, large, banned, vague) if source.suffix == ".py" else (banned,)
        for place in (place for check in checks for place in check(source)):
            print(place)  # noqa: T201 - a list for a person
