"""How far something long is, for whoever wants to know."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[float], None]
"""Told how much more is done."""

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Is told what begins and how much there is to do; gives what to call as more is done."""


@contextmanager
def silent(_: str, __: int) -> Iterator[Advance]:
    """Tell nobody."""
    yield lambda _: None
