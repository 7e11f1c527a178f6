"""Biases in words of their own: their codes in units of the sums, and how many elements saturate."""

import numpy as np
import pytest

from qengine.errors import FormatError
from qengine.model.rules import Arithmetic, BiasRule
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.forms import MatrixProduct
from qengine.model.steps.linear import Linear
from qengine.model.steps.step import Tensor
from qengine.qformat import QFormat, Rounding, channel_formats

FLOAT = np.dtype(np.float32)


def tensor(name, form, shape, value=None):
    return Tensor(name, FLOAT, shape, value, form and QFormat.parse(form))


def biased(b, rule, form=None, weight="Q0.7", shape=None):
    """The bias of a step whose sums have 11 fraction bits, or another number for each channel."""
    w = np.zeros((3, 2) if isinstance(weight, list) else (2, 3), np.float32)
    fmt = channel_formats(weight, 0) if isinstance(weight, list) else QFormat.parse(weight)
    product = MatrixProduct(transposed_w=isinstance(weight, list))
    bias = tensor("b", form, np.shape(b), np.float32(b))
    axis = 1 if isinstance(weight, list) else 0
    step = Linear(
        tensor("x", "Q3.4", (1, 2)),
        Tensor("w", FLOAT, w.shape, w, fmt),
        bias,
        product,
        (1, 3),
        (axis,),
        1,
        shape or np.shape(b),
    )
    found = Accumulation(step, tensor("y", "Q3.4", (1, 3)), Arithmetic(bias=rule))
    return found.bias.tolist(), step.saturated_bias(Arithmetic(bias=rule))


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (BiasRule(), ([2048, -615, 15], 0)),  # 1, -0.3 * 2048 = -614.4..., 0.0073 * 2048 = 14.95
        (BiasRule(8), ([127, -128, 15], 2)),
        (BiasRule(8, 7), ([127 << 4, -38 << 4, 1 << 4], 1)),  # -38.4, 0.93
        (BiasRule(8, 6), ([64 << 5, -19 << 5, 0], 0)),  # -19.2, 0.47
        (BiasRule(8, "most"), ([64 << 5, -19 << 5, 0], 0)),
        (BiasRule(9, "most"), ([128 << 4, -38 << 4, 1 << 4], 0)),
        (BiasRule(16, "most"), ([2048, -615, 15], 0)),
        (BiasRule(8, 6, Rounding.FLOOR), ([64 << 5, -20 << 5, 0], 0)),
        (BiasRule(8, shift=5), ([64 << 5, -19 << 5, 0], 0)),
        (BiasRule(8, -1), ([0, 0, 0], 0)),
        (BiasRule(64), ([2048, -615, 15], 0)),
    ],
)
def test_a_bias_has_a_word_of_its_own(rule, wanted):
    assert biased([1.0, -0.3001, 0.0073], rule) == wanted


def test_a_bias_of_one_channel_has_the_fraction_bits_of_that_channel():
    """Sums of 11, 10 and 12 fraction bits; "most" of 4 bits is 3, as 7 = 0.4375 * 16 fits and -1 * 16 does not."""
    formats = ["Q0.7", "Q1.6", "Q-1.8"]
    assert biased([0.4375, -1.0, 0.1], BiasRule(), weight=formats)[0] == [896, -1024, 410]
    assert biased([0.4375, -1.0, 0.1], BiasRule(4, "most"), weight=formats)[0] == [4 << 8, -8 << 7, 1 << 9]
    assert biased([0.4375, -1.0, 0.1], BiasRule(13, "most"), weight=formats)[0] == [896, -1024, 410]
    assert biased([0.4375, -1.0, 0.1], BiasRule(4, 3), weight=formats) == ([4 << 8, -8 << 7, 1 << 9], 0)


def test_wide_biases_are_exact():
    """2^51 units of 2^-11 do not fit 53 bits of a sum; 64 bits end at 2^63 - 1."""
    assert biased([2.0**40, -(2.0**60), 2.0**60], BiasRule(64)) == ([2**51, -(2**63), 2**63 - 1], 2)


def test_a_format_of_a_bias_wins_over_the_rule():
    """Q3.4: 16, -5, 0 with 7 bits less than the sums; Q-5.12 has one bit more, which is rounded by the rule."""
    values = [1.0, -0.3001, 0.0073]
    assert biased(values, BiasRule(8, 2), "Q3.4") == ([16 << 7, -5 << 7, 0], 0)
    assert biased(values, BiasRule(), "Q3.12") == ([2048, -614, 15], 0)  # -1229 / 2 is -614.5, to even
    assert biased(values, BiasRule(rounding=Rounding.FLOOR), "Q3.12")[0] == [2048, -615, 15]
    assert biased(values, BiasRule(), "Q-1.8")[1] == 1


def test_a_bias_has_at_most_the_fraction_bits_of_the_sums():
    with pytest.raises(
        FormatError, match=r"^bias 'b' has 12 fraction bits \(bias.fraction_bits\) and its sums have 11"
    ):
        biased([1.0, 0.0, 0.0], BiasRule(32, 12))
    with pytest.raises(FormatError, match=r"and its sums have 10: give it at most 10, or those of the sums"):
        biased([1.0, 0.0, 0.0], BiasRule(32, 11), weight=["Q0.7", "Q1.6", "Q0.7"])


@pytest.mark.parametrize(
    ("bits", "own", "wanted"), [(32, "sums", -150 << 3), (4, 4, -8 << 7), (8, 4, -9 << 7), (32, 9, -300 << 2)]
)
def test_a_computed_bias_has_the_word_of_the_rule(bits, own, wanted):
    """-150 with 8 fraction bits is -9.375 with 4, which 4 bits hold as -8."""
    step = Linear(
        tensor("x", "Q3.4", (1, 2)),
        tensor("w", "Q0.7", (2, 3), np.zeros((2, 3), np.float32)),
        tensor("b", "Q7.8", (3,)),
        MatrixProduct(),
        (1, 3),
        (0,),
        1,
        (3,),
    )
    found = Accumulation(step, tensor("y", "Q3.4", (1, 3)), Arithmetic(bias=BiasRule(bits, own)))
    assert found.computed_bias(np.int16([-150, 0, 0]))[0] == wanted
    assert found.largest_bias >= abs(wanted)
