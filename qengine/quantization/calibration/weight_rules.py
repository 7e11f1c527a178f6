"""Rules of a target for constants: which have a format per channel, how long their words are, and their least code."""

from __future__ import annotations

from collections.abc import Mapping

from qengine.model.ops.operator import Role
from qengine.qformat import Overflow, QFormat
from qengine.quantization.calibration.options import CalibrationOptions
from qengine.quantization.calibration.tensors import Constant
from qengine.targets import Target

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def is_per_channel(constant: Constant, options: CalibrationOptions) -> bool:
    """Whether a constant has a format for each output channel."""
    allowed = options.constraints.per_channel
    if not options.per_channel or constant.axis is None or allowed == "no":
        return False
    readers = [node.operator for readers, _ in constant.places for node, _ in readers.places]
    return allowed == "all" or all(operator in _CONVOLUTIONS for operator in readers)


def word_lengths(
    constants: Mapping[str, Constant], activations: Mapping[str, QFormat], options: CalibrationOptions
) -> dict[str, int]:
    """Return the word length of each constant: that of the options or, for some targets, of its other factor."""
    found = dict.fromkeys(constants, options.weight_word_length)
    if options.equal_word_lengths:
        for name, constant in constants.items():
            others = [
                activations[node.inputs[0]].bits
                for readers, _ in constant.places
                for node, role in readers.places
                if role is Role.WEIGHTS and node.inputs[0] in activations
            ]
            found[name] = max(others, default=options.activation_word_length)
    return found


def keeps_symmetric(options: CalibrationOptions) -> bool:
    """Whether fraction bits must be few enough for weights not to have the least code of two's complement.

    Where the target saturates constants to the code above it, they have it in no format.
    """
    if not options.constraints.symmetric_weights:
        return False
    assert isinstance(options.target, Target)
    return options.target.rules.modes("constants", "").overflow != Overflow.SYMMETRIC
