"""Regular expressions in the syntax of RE2, matched against whole texts in time linear in the text.

A pattern becomes a nondeterministic automaton, whose sets of states are remembered as a deterministic one. So no
pattern takes exponential time, as Python's own `re` does for (a*)*b.
"""

from qengine.model.eager.regex.matcher import compiled

__all__ = ["compiled"]
