import numpy as np
import pytest

from qengine.cli import parsing
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, OptionError
from qengine.model.graph import Graph, Value

GRAPH = Graph("g", (Value("a", np.dtype(np.float32), (2,)), Value("a=b", np.dtype(np.float32), (2,))), (), (), {})


@pytest.mark.parametrize(("text", "found"), [("1/255", (1 / 255,)), ("0.5,-2,1e-3", (0.5, -2.0, 0.001)), ("3", (3.0,))])
def test_numbers(text, found):
    assert parsing.numbers("--scale", text) == found


@pytest.mark.parametrize("text", ["", "1/", "/2", "1/0", "1/2/3", "a", "1,,2"])
def test_no_numbers(text):
    with pytest.raises(OptionError, match=r"--scale '.*' is not a number such as 1/255"):
        parsing.numbers("--scale", text)


def test_a_name_may_hold_an_equals_sign():
    found = parsing.inputs(["a=1,2", "a=b=3,4"], GRAPH, Preprocessing(), 10)
    assert {name: array.tolist() for name, array in found.items()} == {"a": [1, 2], "a=b": [3, 4]}


def test_inputs_that_are_refused():
    with pytest.raises(OptionError, match="twice"):
        parsing.inputs(["a=1,2", "a=3,4"], GRAPH, Preprocessing(), 10)
    with pytest.raises(OptionError, match="'c' is not NAME=VALUE; the inputs are 'a', 'a=b'"):
        parsing.inputs(["c"], GRAPH, Preprocessing(), 10)
    with pytest.raises(FeedError, match="no input 'c'"):
        parsing.inputs(["c=1"], GRAPH, Preprocessing(), 10)
