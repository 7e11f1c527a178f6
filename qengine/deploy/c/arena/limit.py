"""The limit of memory: the error where an arena is larger."""

from __future__ import annotations

from qengine.errors import QEngineError

_NAMED = 6


class MemoryLimitError(QEngineError):
    """A network needs more memory than is allowed; the message names the tensors that are in use at its peak."""


def check_limit(size: int, limit: int, bound: int, moment: str, tensors: dict[str, int]) -> None:
    """Do nothing if a size is within a limit.

    Parameters
    ----------
    size
        Bytes of the arena.
    limit
        Bytes that are allowed.
    bound
        Bytes below which no arena of the network can be.
    moment
        The operation at the peak.
    tensors
        The bytes in use at the peak, by name.

    Raises
    ------
    MemoryLimitError
        If the size is above the limit.
    """
    if size <= limit:
        return
    largest = sorted(tensors.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{name} {count:,} B" for name, count in largest[:_NAMED])
    more = len(largest) - _NAMED
    if more > 0:
        named += f" and {more} more of {sum(count for _, count in largest[_NAMED:]):,} B"
    advice = "a smaller input (--shape), narrower formats for these tensors, or a larger --ram"
    if bound <= limit:
        advice = f"{advice}; in principle {bound:,} B could do"
    raise MemoryLimitError(
        f"the arena needs {size:,} B and --ram allows {limit:,} B: at {moment} live {named}; give {advice}"
    )
