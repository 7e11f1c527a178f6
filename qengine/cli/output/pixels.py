"""The line that says how pixels became the numbers of a model, and remarks on it, as all commands print them."""

from collections.abc import Iterator

from rich.text import Text

from qengine.cli.output.styles import WARN
from qengine.data.applied import Applied


def pixel_lines(pixels: Applied) -> Iterator[Text]:
    """Yield what is applied to pixels, and the remarks; nothing where no pixels were read."""
    if pixels.line is not None:
        yield Text(pixels.line)
    for note in pixels.notes:
        yield Text(f"note: {note}", style=WARN)
