import numpy as np
import pytest

from qengine.checks import check_whole_number
from qengine.errors import FormatError, OptionError


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_whole_numbers_become_python_integers(value):
    number = check_whole_number("n", value, 3, 3)
    assert (number, type(number)) == (3, int)


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float32(3), "3", None, np.array(3)])
def test_what_is_no_whole_number(value):
    with pytest.raises(OptionError, match=r"^n must be a whole number, not "):
        check_whole_number("n", value)


def test_limits():
    assert check_whole_number("n", -(10**30)) == -(10**30)
    assert [check_whole_number("n", n, 1, 2) for n in (1, 2)] == [1, 2]
    for value in (0, 3):
        with pytest.raises(OptionError, match=f"^n must be a whole number, 1 to 2, not {value}$"):
            check_whole_number("n", value, 1, 2)
    with pytest.raises(FormatError, match=r"^n must be a whole number, 0 or more, not -1$"):
        check_whole_number("n", -1, 0, error=FormatError)
