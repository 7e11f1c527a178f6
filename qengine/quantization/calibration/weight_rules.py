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
    """Return the word length of each constant.

    That is the one of the options. A target has weights and other tensors: a constant other than weights, such as an
    addend, has the word of activations, and weights may have that of their other factor.
    """
    found = dict.fromkeys(constants, options.weight_word_length)
    if options.target is None or options.weight_bits is not None:
        return found
    for name, constant in constants.items():
        factors = factors_of(constant)
        if not factors:
            found[name] = options.activation_word_length
        elif options.equal_word_lengths:
            lengths = [activations[factor].bits for factor in factors if factor in activations]
            found[name] = max(lengths, default=options.activation_word_length)
    return found


def factors_of(constant: Constant) -> list[str]:
    """Return the tensors that a constant is multiplied with as weights; none for another constant."""
    places = [place for readers, _ in constant.places for place in readers.places]
    return [node.inputs[0] for node, role in places if role is Role.WEIGHTS]


def keeps_symmetric(options: CalibrationOptions) -> bool:
    """Whether fraction bits must be few enough for weights not to have the least code of two's complement.

    Where the target saturates constants to the code above it, they have it in no format.
    """
    if not options.constraints.symmetric_weights:
        return False
    assert isinstance(options.target, Target)
    return options.target.rules.modes("constants", "").overflow != Overflow.SYMMETRIC
