"""Every command of README and docs is run by a test, or its page says why not."""

import re

import pytest
from docs.pages import LANGUAGES, NOT_RUN, PROGRAMS, pages, read
from docs.runner import PageError, Run

PAGES = pages()
COMMAND = re.compile(rf"^(?:\$ )?(?:{'|'.join(map(re.escape, PROGRAMS))}) ", re.MULTILINE)
MOST_NOT_RUN = 45


def test_every_command_is_run_or_says_why_not():
    commands = [command for page in PAGES for command in page.commands]
    not_run = [command for command in commands if not command.is_run]
    assert len(commands) - len(not_run) >= 80
    assert len(not_run) <= MOST_NOT_RUN
    assert not [command.text for command in not_run if len(command.reason or "") < 10]
    ours = [command.text for command in not_run if command.programs == ["qengine"] and command.text not in NOT_RUN]
    assert len(ours) <= 1, ours  # a network of sounds


def test_the_reasons_of_the_help_are_of_commands_that_there_are():
    assert set(NOT_RUN) <= {command.text for page in PAGES for command in page.commands}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_say_what_they_are(page):
    assert {block.language for block in page.blocks} <= LANGUAGES
    assert page.text.count("```") == 2 * len(page.blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_hides_in_another_block(page):
    others = [block for block in page.blocks if block.language in ("text", "output")]
    usage = re.compile(r"\[OPTIONS\]")
    assert not [block.text for block in others if COMMAND.search(block.text) and not usage.search(block.text)]


def run(text, folder, **options):
    page = Run(read(text), folder, **options)
    page()
    return page


def test_a_page_runs(tmp_path):
    text = """
```python title="a.py"
print("hello 3.14")
```

```sh
python a.py   # a remark
echo two && echo three
```

<!-- varies: \\d+\\.\\d+ -->
```output
hello 2.71
...
three
```

```python
>>> x = 1
>>> x + 1
2

```

<!-- not run (pip): installs nothing -->
```sh
pip install nothing && python a.py
```
"""
    assert [command.text for command in run(text, tmp_path).ran] == [
        "python a.py",
        "echo two && echo three",
        "pip install nothing && python a.py",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```sh\nqengine run nothing.onnx\n```\n", "exit status 2"),
        ("```sh\nfalse\n```\n", "exit status 1"),
        ("```sh\necho one\n```\n\n```output\ntwo\n```\n", r"(?s)prints something else.*-two\n\+one"),
        ("```sh\necho one\n```\n\n```output\none\ntwo\n```\n", "prints something else"),
        ("```python\n>>> 1 + 1\n3\n\n```\n", "(?s)Expected:.*3"),
    ],
)
def test_a_page_that_is_wrong_fails(tmp_path, text, message):
    with pytest.raises(PageError, match=message):
        run(text, tmp_path)


def test_what_is_not_run_is_not_run(tmp_path):
    page = run("<!-- not run: it would fail -->\n```sh\nfalse\n```\n\n```text\nfalse\n```\n", tmp_path)
    assert not page.ran


def test_a_file_of_a_wrong_form_fails(tmp_path):
    with pytest.raises(ValueError, match="Invalid"):
        run("```toml\na = \n```\n", tmp_path)
