"""The nearest name: mistakes that people make, and the names that they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qengine.errors import did_you_mean
from qengine.qformat.modes import OVERFLOW_WORDS, ROUNDING_WORDS, Overflow, Rounding
from qengine.spelling import distance, nearest
from qengine.targets import names

COMMANDS = [
    *("init", "run", "inspect", "calibrate", "quantize", "sweep", "search"),
    *("report", "export", "compare", "targets", "bench", "doctor"),
]
MODELS = ["srcnn", "digits"]
OPTIONS = [
    "--input",
    "--data",
    "--labels",
    "--batch",
    "--limit",
    "--out",
    "--qformat",
    "--weight-qformat",
    "--formats",
    "--bits",
    "--weight-bits",
    "--activation-bits",
    "--accumulator-bits",
    "--target",
    "--rule",
    "--rounding",
    "--overflow",
    "--islands",
    "--strict",
    "--per-channel",
    "--fetch",
    "--raw",
    "--expected",
    "--mean",
    "--std",
    "--scale",
    "--resize",
    "--crop",
    "--bgr",
    "--layout",
    "--convert",
    "--isa",
    "--threads",
    "--max-elements",
    "--max-memory",
    "--max-iterations",
    "--operators",
    "--json",
    "--method",
    "--percentile",
    "--headroom",
    "--unsigned",
]
TENSORS = ["input", "factor", "upscaled", "/stem/Conv_output_0", "/stem/Relu_output_0", "output", "conv1.weight"]
METRICS = ["top1", "agreement", "psnr", "ssim", "sqnr"]

TYPOS = {
    "commands": (
        COMMANDS,
        "rum:run rn:run runn:run urn:run inspct:inspect insepct:inspect inspekt:inspect calibarte:calibrate "
        "calib:calibrate callibrate:calibrate quantise:quantize quantze:quantize qunatize:quantize quant:quantize "
        "swep:sweep seep:sweep sweeps:sweep serach:search seach:search raport:report reprot:report exprot:export "
        "exports:export comapre:compare cmpare:compare compair:compare target:targets tragets:targets benhc:bench "
        "benchmark:bench docter:doctor int:init RUN:run",
    ),
    "models": (MODELS, "srcn:srcnn srccn:srcnn SRCNN:srcnn srnn:srcnn digit:digits digts:digits digist:digits"),
    "options": (
        OPTIONS,
        "--qfromat:--qformat --qformt:--qformat --qFormat:--qformat --q-format:--qformat --bit:--bits --bitz:--bits "
        "--weights-bits:--weight-bits --weightbits:--weight-bits --weight_bits:--weight-bits "
        "--wieght-bits:--weight-bits "
        "--activations-bits:--activation-bits --activation_bits:--activation-bits --acumulator-bits:--accumulator-bits "
        "--accumulator-bit:--accumulator-bits --fomats:--formats --formas:--formats --roundng:--rounding "
        "--rouding:--rounding --overfow:--overflow --thread:--threads --theads:--threads --jsn:--json --JSON:--json "
        "--max-mem:--max-memory --maxmemory:--max-memory --max-elems:--max-elements --perchannel:--per-channel "
        "--per_channel:--per-channel --targt:--target --tagret:--target --scal:--scale --limits:--limit "
        "--lable:--labels "
        "--fech:--fetch --expectd:--expected --percentil:--percentile --methd:--method --input_:--input",
    ),
    "tensors": (
        TENSORS,
        "upscale:upscaled upscalled:upscaled facotr:factor inptu:input stem/Conv_output_0:/stem/Conv_output_0 "
        "/stem/conv_output_0:/stem/Conv_output_0 stem.Conv:/stem/Conv_output_0 outptu:output conv1_weight:conv1.weight",
    ),
    "metrics": (METRICS, "top-1:top1 Top1:top1 agreemnt:agreement pnsr:psnr sim:ssim sqnr_db:sqnr snqr:sqnr"),
    "targets": (
        names(),
        "cmsis-nn-q7s:cmsis-nn-q7 cmsis_nn_q7:cmsis-nn-q7 cmsis-nn-q:cmsis-nn-q7 CMSIS-NN-Q7:cmsis-nn-q7",
    ),
}
TABLE = [(group, *pair.rsplit(":", 1)) for group, (_, pairs) in TYPOS.items() for pair in pairs.split()]


def test_the_table_is_long():
    assert len(TABLE) >= 80


@pytest.mark.parametrize(("group", "typed", "meant"), TABLE)
def test_the_name_that_is_meant(group, typed, meant):
    assert nearest(typed, TYPOS[group][0]) == meant


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("xyz", COMMANDS),
        ("", COMMANDS),
        ("a", MODELS),
        ("mnist", MODELS),
        ("resnet50", MODELS),
        ("--", OPTIONS),
        ("q" * 300, TENSORS),
        ("run", []),
    ],
)
def test_no_name_is_near(typed, known):
    assert nearest(typed, known) is None
    assert did_you_mean(typed, known) == ""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("nearest", "half_even"),
        ("round_half_even", "half_even"),
        ("rne", "half_even"),
        ("RNE", "half_even"),
        ("round-half-up", "half_up"),
        ("AP_RND", "half_up"),
        ("AP_TRN", "floor"),
        ("truncate", "trunc"),
        ("half-even", "half_even"),
        ("hlaf_up", "half_up"),
        ("flor", "floor"),
        ("ceiling", "ceil"),
        ("to zero", "trunc"),
    ],
)
def test_roundings_of_others(typed, meant):
    assert did_you_mean(typed, Rounding, ROUNDING_WORDS) == f"; did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("typed", "meant"), [("clip", "saturate"), ("clamp", "saturate"), ("satruate", "saturate"), ("AP_WRAP", "wrap")]
)
def test_overflows_of_others(typed, meant):
    assert did_you_mean(typed, Overflow, OVERFLOW_WORDS) == f"; did you mean '{meant}'?"


def test_words_of_others_mean_names_that_there_are():
    assert set(ROUNDING_WORDS.values()) <= set(Rounding)
    assert set(OVERFLOW_WORDS.values()) <= set(Overflow)
    assert not (ROUNDING_WORDS.keys() & set(Rounding)) | (OVERFLOW_WORDS.keys() & set(Overflow))


@pytest.mark.parametrize(
    ("one", "other", "mistakes"),
    [("", "", 0), ("run", "run", 0), ("rum", "run", 1), ("urn", "run", 1), ("rn", "run", 1), ("ca", "abc", 3)],
)
def test_distance(one, other, mistakes):
    assert distance(one, other) == distance(other, one) == mistakes
    assert distance(one, other, 0) == min(mistakes, 1)


@given(st.text("abc", max_size=6), st.text("abc", max_size=6), st.integers(0, 6))
def test_a_limit_cuts_the_distance(one, other, most):
    assert distance(one, other, most) == min(distance(one, other), most + 1)


@given(st.sampled_from(OPTIONS), st.integers(0, 40), st.sampled_from("abcxyz"))
def test_one_wrong_letter_is_found(name, place, letter):
    place = 2 + place % (len(name) - 2)
    typed = name[:place] + letter + name[place + 1 :]
    found = nearest(typed, OPTIONS)
    assert found is not None
    assert distance(typed.replace("-", ""), found.replace("-", "")) <= 1
