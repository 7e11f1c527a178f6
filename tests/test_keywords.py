"""Options objects and their fields as keywords: every function takes both by one rule."""

import copy
import pickle

import pytest

import qengine
from qengine import CalibrationOptions, SearchOptions, SessionOptions, SweepOptions
from qengine.analysis.search.options import SearchKeywords
from qengine.analysis.sweep.options import SweepKeywords
from qengine.errors import OptionError
from qengine.keywords import options_with
from qengine.quantization.calibration import CalibrationKeywords
from qengine.runtime.options import SessionKeywords

DIGITS = qengine.zoo.find("digits").path

OPTIONS = [
    SessionOptions(qformat="Q4.3", rounding="floor"),
    SessionOptions(formats={"x": "Q4.3", "w": ["Q0.7", "Q1.6"]}),
    CalibrationOptions(bits=6),
    SearchOptions(bits=[4, 8], weight_bits=[4]),
    SweepOptions(limit=3),
]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_options_are_values(options):
    for other in (
        pickle.loads(pickle.dumps(options)),
        copy.deepcopy(options),
        options_with(type(options), options, {}),
    ):
        assert other == options
        assert hash(other) == hash(options)


def test_options_do_not_change_with_the_mapping_that_they_were_made_of():
    formats, bits = {"x": "Q4.3"}, [4, 8]
    session, search = SessionOptions(formats=formats), SearchOptions(bits=bits)
    formats["x"] = "Q1.6"
    bits.append(16)
    assert session.formats == {"x": "Q4.3"}
    assert search.bits == (4, 8)


@pytest.mark.parametrize(
    ("keywords", "own", "shared"),
    [
        (SessionKeywords, SessionOptions, None),
        (CalibrationKeywords, CalibrationOptions, None),
        (SearchKeywords, SearchOptions, SessionOptions),
        (SweepKeywords, SweepOptions, SessionOptions),
    ],
)
def test_keywords_are_the_fields(keywords, own, shared):
    fields = [*own.__dataclass_fields__, *(shared.__dataclass_fields__ if shared else ())]
    assert sorted(keywords.__annotations__) == sorted(fields)


FUNCTIONS = {
    "InferenceSession": lambda *options, **keywords: qengine.InferenceSession(DIGITS, *options, **keywords),
    "calibrate": lambda *options, **keywords: qengine.calibrate(DIGITS, [], *options, **keywords),
    "quantize_model": lambda *options, **keywords: qengine.quantize_model(
        DIGITS, [], **keywords, **({"options": options[0]} if options else {})
    ),
    "inspect_model": lambda *options, **keywords: qengine.inspect_model(
        DIGITS, **keywords, **({"options": options[0]} if options else {})
    ),
    "search": lambda *options, **keywords: qengine.search(DIGITS, None, *options, **keywords),
    "sweep": lambda *options, **keywords: qengine.sweep("digits", "no-such-folder", None, *options, **keywords),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_unknown_keyword_is_a_type_error(name):
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'qfromat'"):
        FUNCTIONS[name](qfromat="Q4.3")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("options", ["Q4.3", {"qformat": "Q4.3"}, qengine.Grid()])
def test_options_of_another_class_are_refused(name, options):
    with pytest.raises(OptionError, match=r"^options must be .*Options, not .*: give single options by keyword"):
        FUNCTIONS[name](options)
