"""Reports of the progress of long work, from the place where it is done to the one who shows it.

Work that may take seconds is done within `working(text, total)`, which yields a function to call with each amount that
is done. Who wants to show this calls `reporting_to` around everything, as the command line does; else nothing is
shown. Work may be nested, and its total may be unknown (None).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[float], None]
"""Function that is called with the amount of work that was done since its last call."""

Progress = Callable[[str, float | None], AbstractContextManager[Advance]]
"""Function that is called with the name and the amount of work that begins; it returns a context of an `Advance`."""


@contextmanager
def silent(_: str, __: float | None = None) -> Iterator[Advance]:
    """Report nothing."""
    yield lambda _: None


_reporters: list[Progress] = [silent]


def working(text: str, total: float | None = None) -> AbstractContextManager[Advance]:
    """Report work that begins; the function that the context yields is called with each amount that is done.

    Parameters
    ----------
    text
        Name of the work, such as "compiling kernels"; then "|" and the unit of its amounts: "calibrating|samples".
    total
        The amount of work; None where it is unknown.
    """
    return _reporters[-1](text, total)


@contextmanager
def reporting_to(progress: Progress) -> Iterator[None]:
    """Give all reports of the process to a function while the context lasts."""
    _reporters.append(progress)
    try:
        yield
    finally:
        _reporters.remove(progress)
