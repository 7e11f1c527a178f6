"""Reference of the project file, from the table of its keys."""

from __future__ import annotations

from generators.markdown import Pages, code, escaped, page, table
from qengine.cli.project.keys import KEYS, OUTPUTS, REFUSED, Key
from qengine.cli.usage import options_by_command


def pages() -> Pages:
    """Return the page of keys."""
    options = options_by_command()
    rows = [
        (code(".".join(key.path)), escaped(key.about), escaped(key.value.allowed), _commands(key, options))
        for key in KEYS
    ]
    outputs = [(f"`qengine {command}`", code(name.replace("{model}", "MODEL"))) for command, name in OUTPUTS.items()]
    return {
        "reference/project-file.md": page(
            "The project file",
            "Keys of `qengine.toml`; see [how to use one](../how-to/project-file.md). Each is the default of an option "
            "of the commands that are named. A table with the name of a command, such as `[sweep]` or `[export.c]`, "
            f"holds any of its options by their long names, but {', '.join(f'`{name}`' for name in REFUSED)}.",
            table(("key", "meaning", "allowed", "commands"), rows),
            "## Names in the output folder",
            table(("command", "writes"), outputs),
        )
    }


def _commands(key: Key, options: dict[str, set[str]]) -> str:
    """Return the commands that take a key."""
    if key.name == "output":
        return ", ".join(OUTPUTS)
    flags = {"inputs": "--input", "model": None}
    named = {name: key.option(name) for name in options if name not in ("init", "doctor")}
    taken = []
    for name, option in named.items():
        flag = flags.get(key.name, f"--{str(option).replace('_', '-')}")
        if option is not None and (flag is None or flag in options[name]):
            taken.append(name)
    return ", ".join(taken)
