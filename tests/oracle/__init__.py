"""An independent model of the numerics: exact integers and fractions, one plain loop per operator.

Nothing here comes from the package under test. Codes are Python integers in NumPy object arrays, which
serve as containers only; float64 appears only where the definition asks for it (constants of a folded
BatchNormalization, Resize taps, functions of one variable).

`run` evaluates a small ONNX model. Where the definition cannot pin down a code (a float64 function that
lands within 1e-9 of a rounding step, the float island of Softmax), the tensor carries the set of codes that
are acceptable; a later operator that would read such a code raises `Ambiguous` instead of guessing.
"""

from .codes import ALL_OVERFLOWS, ALL_ROUNDINGS, OVERFLOWS, ROUNDINGS, Ambiguous, Codes, Fmt, Options
from .interpreter import run
from .net import Net

__all__ = [
    "ALL_OVERFLOWS",
    "ALL_ROUNDINGS",
    "OVERFLOWS",
    "ROUNDINGS",
    "Ambiguous",
    "Codes",
    "Fmt",
    "Net",
    "Options",
    "run",
]
