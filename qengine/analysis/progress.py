"""Reports of the progress of long work."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[float], None]
"""Function that is called with the amount of work that was done since its last call."""

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Function that is called with the name and the amount of work that begins; it returns a context of an `Advance`."""


@contextmanager
def silent(_: str, __: int) -> Iterator[Advance]:
    """Report nothing."""
    yield lambda _: None
