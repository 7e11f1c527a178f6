"""The arena of a network in C: one piece of memory in which tensors share bytes while they are not in use."""

from qengine.deploy.c.arena.drawing import as_mapping, drawing
from qengine.deploy.c.arena.limit import MemoryLimitError
from qengine.deploy.c.arena.plan import Arena, ArenaOptions, plan_arena
from qengine.deploy.c.arena.regions import Region

__all__ = ["Arena", "ArenaOptions", "MemoryLimitError", "Region", "as_mapping", "drawing", "plan_arena"]
