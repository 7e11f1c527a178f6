"""Small random ONNX models: a Conv with random attributes, then a random operator, and sometimes another."""

from .cases import Case, expected_options, random_case
from .operators import OPERATORS

__all__ = ["OPERATORS", "Case", "expected_options", "random_case"]
