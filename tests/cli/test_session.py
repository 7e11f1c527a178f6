"""Options of a session are those that were typed, and each has a meaning."""

from dataclasses import replace

import pytest

from qengine.cli.options import FixedPointOptions, KernelOptions, LimitOptions
from qengine.cli.session import check_meaning
from qengine.errors import OptionError
from qengine.runtime.options import SessionOptions


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("weight_qformat", "Q0.7"),
        ("rounding", "floor"),
        ("overflow", "wrap"),
        ("accumulator_bits", 32),
        ("per_channel", True),
        ("strict", True),
    ],
)
def test_options_of_fixed_point_need_a_format(option, value):
    typed = FixedPointOptions(**{option: value}).session_options(LimitOptions())
    with pytest.raises(OptionError, match=f"--{option.replace('_', '-')} has no meaning in float32"):
        check_meaning(typed, lambda: False)
    check_meaning(typed, lambda: True)
    check_meaning(replace(typed, qformat="Q4.3"), lambda: False)
    assert getattr(typed, option) == value


def test_an_option_that_was_not_typed_has_the_default_of_a_session():
    typed = FixedPointOptions(qformat="Q4.3").session_options(KernelOptions(isa="generic", threads=2))
    assert typed == SessionOptions(qformat="Q4.3", isa="generic", threads=2)
