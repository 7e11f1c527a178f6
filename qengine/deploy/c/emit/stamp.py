"""The first lines of every file: which model, formats, version and command it came from, and no time."""

from __future__ import annotations

from dataclasses import dataclass

import qengine
from qengine.deploy.vectors.manifest import formats_digest, model_digest
from qengine.runtime.session import InferenceSession


@dataclass(frozen=True)
class Stamp:
    """Origin of files.

    Attributes
    ----------
    model, formats : SHA-256 of the model and of its formats.
    command : command line, with names of files and no folders.
    version : version of qengine.
    """

    model: str
    formats: str
    command: str
    version: str = qengine.__version__

    @classmethod
    def of(cls, session: InferenceSession, command: str) -> Stamp:
        """Return the stamp of a session."""
        return cls(model_digest(session), formats_digest(session), plain(command))

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines without comment signs."""
        return (
            f"qengine {self.version}: {self.command}",
            f"model   {self.model}",
            f"formats {self.formats}",
        )

    def c(self, *title: str) -> str:
        """Return a comment of C, with lines that say what the file is."""
        lines = [*title, "", *self.lines] if title else [*self.lines]
        return comment(lines)

    def hashed(self) -> str:
        """Return a comment of make, CMake and shells."""
        return "".join(f"# {line}\n" for line in self.lines)


def plain(text: str) -> str:
    """Return text that cannot end a comment or leave its line, and holds no trigraph."""
    found = "".join(c if c.isprintable() and ord(c) < 128 else "?" for c in text.replace("\u00b7", "+"))
    found = found.replace("\\", "/").replace("??/", "?/").replace("*/", "* /")
    return found.replace("/*", "/ *")


def comment(lines: list[str]) -> str:
    """Return lines as one comment of C."""
    if len(lines) == 1:
        return f"/* {lines[0]} */\n"
    return "/* " + "\n".join([lines[0], *(f" * {line}".rstrip() for line in lines[1:])]) + " */\n"
