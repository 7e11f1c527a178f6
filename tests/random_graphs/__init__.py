"""Small random ONNX models.

A *case* is a Conv with random attributes, then a random operator, and sometimes another. A *program* has control flow,
local functions and arithmetic on shapes.
"""

from .cases import Case, expected_options, random_case
from .operators import OPERATORS
from .programs import Program, random_program

__all__ = ["OPERATORS", "Case", "Program", "expected_options", "random_case", "random_program"]
