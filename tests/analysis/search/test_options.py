"""Options of a search: one frozen object or keywords, and what has no meaning in them."""

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import SessionOptions
from qengine.analysis.search import SearchOptions
from qengine.errors import OptionError
from qengine.model.loader import load

MODEL = network([("Gemm", "x w", "y")], inputs={"x": ["N", 3]}, constants={"w": weights(3, 4, seed=1)})


@pytest.fixture
def data(tmp_path):
    np.savez(tmp_path / "data.npz", x=weights(8, 3, seed=2, scale=1.0))
    graph = load(MODEL)
    return graph, qengine.open_dataset(str(tmp_path / "data.npz"), graph, batch=4)


def test_keywords_are_fields_of_the_objects(data):
    settings = SearchOptions(metric="sqnr", least=12.0, bits=(3, 8))
    whole = qengine.search(*data, settings, session=SessionOptions(rounding="floor"))
    assert whole == qengine.search(*data, metric="sqnr", least=12.0, bits=(3, 8), rounding="floor")
    assert whole == qengine.search(
        *data, SearchOptions(metric="sqnr", bits=(3, 8)), session=SessionOptions(), least=12.0, rounding="floor"
    )
    assert whole.best.widths != qengine.search(*data, settings, least=22.0).best.widths


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"qformat": "Q4.3"}, "qformat has no meaning in a search, which chooses the formats"),
        ({"formats": {"x": "Q4.3"}}, "formats has no meaning in a search"),
        ({"per_channel": True}, "per_channel is an option of the calibration"),
        ({"max_runs": 0}, "max_runs must be a whole number, 1 or more, not 0"),
        ({"sensitivity_samples": 0}, "sensitivity_samples must be a whole number"),
        ({"cost": "area"}, "no cost is named 'area'; there are weights, activations, bit-operations"),
        ({"metric": "f1"}, "no metric is named 'f1'; there are top1, agreement, psnr, ssim, sqnr"),
        ({"bits": [1, 8]}, "^bits must be a whole number, 2 to 16, not 1"),
        ({"weight_bits": [8, 17]}, "weight_bits must be a whole number, 2 to 16, not 17"),
        ({"activation_bits": [4.5]}, "activation_bits must be a whole number, 2 to 16, not 4.5"),
        ({"least": 1.0, "max_drop": 1.0}, "max_drop and least both say what is good enough"),
        ({"least": float("nan")}, "the figure that is good enough is nan; a finite number"),
        ({"least": float("inf")}, "the figure that is good enough is inf"),
        ({"threads": 0}, "threads must be a whole number"),
    ],
)
def test_options_without_a_meaning_are_refused_before_a_run(keywords, message):
    with pytest.raises(OptionError, match=message):
        qengine.search(MODEL, None, **keywords)


def test_an_unknown_keyword_is_a_type_error(data):
    with pytest.raises(TypeError, match=r"search\(\) got an unexpected keyword argument 'max_dorp'"):
        qengine.search(*data, max_dorp=1)
