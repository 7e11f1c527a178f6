"""The option groups of the commands: an option is declared once, as a field of the group that it belongs to.

An option that belongs to no group, or that one command has without the rest of its group, is an annotated type.
See `qengine.cli.arguments` for how groups become options of a command.
"""

from qengine.cli.options.choice import FormatChoiceOptions, MethodOptions, RangeOptions, TensorRuleOptions
from qengine.cli.options.data import DataOptions, InputOptions, Shapes
from qengine.cli.options.fail_under import ThresholdOptions
from qengine.cli.options.fixed_point import (
    ArithmeticOptions,
    FixedPointOptions,
    Formats,
    RoundingOptions,
    Strict,
    TargetOptions,
)
from qengine.cli.options.general import (
    CommandOptions,
    Fetch,
    FormatsOut,
    Json,
    KernelOptions,
    LimitOptions,
    Model,
    Quiet,
)

__all__ = [
    "ArithmeticOptions",
    "CommandOptions",
    "DataOptions",
    "Fetch",
    "FixedPointOptions",
    "FormatChoiceOptions",
    "Formats",
    "FormatsOut",
    "InputOptions",
    "Json",
    "KernelOptions",
    "LimitOptions",
    "MethodOptions",
    "Model",
    "Quiet",
    "RangeOptions",
    "RoundingOptions",
    "Shapes",
    "Strict",
    "TargetOptions",
    "TensorRuleOptions",
    "ThresholdOptions",
]
