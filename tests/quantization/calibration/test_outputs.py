"""Outputs and joins: small parts keep their signal, in formats of their own or in longer words."""

import re

import numpy as np
import pytest
from joined_heads import APART, CAT, FEEDS, INSIDE, WHOLE, Head
from networks import network, weights

import qengine
from qengine import InferenceSession
from qengine.errors import OptionError
from qengine.metrics.sqnr import sqnr
from qengine.qformat import PartFormats, QFormat
from qengine.quantization.calibration import choose_formats, observe

ISAS = ["reference", "generic", "avx2", "avx512vnni"]
MIXED = np.concatenate([weights(4, 3, 1, 1, seed=1, scale=100), weights(2, 3, 1, 1, seed=2, scale=0.2)])


def calibrate(model, feeds, **options):
    """Choose formats without room for other data: what a part loses is a matter of these samples alone."""
    return qengine.calibrate(model, feeds, **{"method": "max", "per_channel": False, "unsigned": False, **options})


def session(model, **options):
    return InferenceSession(model, formats=calibrate(model, FEEDS, **options))


def least_sqnr(head, fixed):
    exact = InferenceSession(head.model())
    return min(
        sqnr(np.asarray(head.small(exact.run(None, feeds))), np.asarray(head.small(fixed.run(None, feeds))))
        for feeds in FEEDS
    )


@pytest.mark.parametrize(("bits", "decibels"), [(4, 12), (6, 24), (8, 35), (12, 58), (16, 75)])
@pytest.mark.parametrize("name", APART)
def test_small_parts_keep_their_signal(name, bits, decibels):
    head = APART[name]
    found = calibrate(head.model(), FEEDS, bits=bits)
    assert found.notes == ()
    fixed = InferenceSession(head.model(), formats=found)
    assert fixed.notes == ()
    assert {f.bits for f in fixed.formats.values()} == {bits}
    assert least_sqnr(head, fixed) > decibels


@pytest.mark.parametrize("name", WHOLE)
def test_a_join_with_one_format_gets_a_longer_word(name):
    head = WHOLE[name]
    found = calibrate(head.model(), FEEDS, bits=8)
    (note,) = found.notes
    assert note.startswith("output 'y' has 16 bits: in Q")
    assert "would have fewer than 4 steps" in note
    assert QFormat.parse(found["y"]).bits == 16
    assert least_sqnr(head, InferenceSession(head.model(), formats=found)) > 30


@pytest.mark.parametrize("name", INSIDE)
def test_the_results_of_inner_graphs_get_it_too(name):
    model = INSIDE[name]
    found = calibrate(model, FEEDS, bits=8)
    assert "output 'y' has 16 bits" in found.notes[0]
    inner = {"if": ("then_branch", "else_branch"), "loop": ("cat",), "scan": ("joined",)}[name]
    assert {QFormat.parse(found[one]).bits for one in ("y", *inner)} == {16}
    exact, fixed = InferenceSession(model), InferenceSession(model, formats=found)
    for feeds in FEEDS:
        assert sqnr(*(one.run(None, feeds)[0][:, 4:] for one in (exact, fixed))) > 30


@pytest.mark.parametrize(("bits", "options"), [(5, {}), (8, {"rounding": "floor", "overflow": "wrap"}), (16, {})])
@pytest.mark.parametrize("name", [*APART, *WHOLE, *INSIDE])
def test_every_kernel_gives_the_same_codes(name, bits, options):
    model = INSIDE[name] if name in INSIDE else (APART | WHOLE)[name].model()
    found = calibrate(model, FEEDS, bits=bits, unsigned=bits == 5)
    runs = [
        [InferenceSession(model, formats=found, isa=isa, **options).run(None, FEEDS[1], raw=raw) for isa in ISAS]
        for raw in (True, False)
    ]
    for one in runs:
        for other in one[1:]:
            for expected, array in zip(one[0], other, strict=True):
                assert expected.dtype == array.dtype
                np.testing.assert_array_equal(array, expected)


def test_codes_of_parts_are_in_the_formats_of_the_parts():
    fixed = session(APART["an output"].model(), bits=8, unsigned=True)
    form = fixed.formats["y"]
    assert isinstance(form, PartFormats)
    assert [str(one) for one in form.formats] == [str(fixed.formats[name]) for name in "bs"]
    raw, real = (fixed.run(None, FEEDS[0], raw=raw)[0] for raw in (True, False))
    assert raw.dtype == np.int16  # int8 and uint8 together
    for part, one in ((np.s_[:, :4], form.formats[0]), (np.s_[:, 4:], form.formats[1])):
        np.testing.assert_array_equal(qengine.dequantize(raw[part], one), real[part])


@pytest.mark.parametrize(
    ("given", "formats"),
    [
        ("Q10.5", "Q10.5"),
        (["Q10.5", "Q1.6"], "Q10.5 | Q1.6"),
        (["Q10.5", "Q10.5"], "Q10.5"),
    ],
)
def test_a_join_takes_formats_that_are_given(given, formats):
    model = APART["an output"].model()
    found = dict(calibrate(model, FEEDS, bits=8).formats) | {"y": given}
    fixed = InferenceSession(model, formats=found)
    assert str(fixed.formats["y"]) == formats
    sessions = [fixed, InferenceSession(model, formats=found, isa="reference")]
    codes = [one.run(None, FEEDS[0], raw=True)[0] for one in sessions]
    np.testing.assert_array_equal(*codes)
    each = [given] * 2 if isinstance(given, str) else given
    parts = fixed.run(["b", "s"], FEEDS[0])
    for part, form, found_codes in zip(parts, each, (codes[0][:, :4], codes[0][:, 4:]), strict=True):
        np.testing.assert_array_equal(qengine.quantize(part, form), found_codes)


@pytest.mark.parametrize("name", ["transposed", "flattened", "bounded", "sliced", "split", "gathered"])
def test_a_whole_that_is_given_one_format_is_rounded_to_it(name):
    model = APART[name].model()
    found = dict(calibrate(model, FEEDS, bits=8).formats)
    wide = dict.fromkeys(("cat", *(value.name for value in InferenceSession(model).graph.outputs)), "Q10.5")
    kept = {one: form for one, form in found.items() if not one.startswith(("y", "z", "c"))}
    fixed = InferenceSession(model, formats=kept | wide)
    assert fixed.notes == ()
    codes = fixed.run(["cat"], FEEDS[0], raw=True)[0]
    for part, form in zip(fixed.run(["b", "s"], FEEDS[0]), (codes[:, :4], codes[:, 4:]), strict=True):
        np.testing.assert_array_equal(qengine.quantize(part, "Q10.5").ravel(), form.ravel())
    for output in fixed.run(None, FEEDS[0]):
        assert np.all(output * 32 == np.round(output * 32))
    reference = InferenceSession(model, formats=kept | wide, isa="reference")
    for ours, theirs in zip(fixed.run(None, FEEDS[0], raw=True), reference.run(None, FEEDS[0], raw=True), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_format_of_the_rest_is_that_of_a_whole_unless_its_parts_are_named():
    model = APART["transposed"].model()
    found = calibrate(model, FEEDS, bits=8)
    rest = InferenceSession(model, formats={"b": "Q10.-3"}, qformat="Q2.5")
    assert str(rest.formats["y"]) == "Q2.5"
    named = InferenceSession(model, formats=found, qformat="Q2.5")
    assert str(named.formats["y"]) == "Q10.-3 | Q0.7"
    alone = InferenceSession(model, formats=found)
    for feeds in FEEDS:
        np.testing.assert_array_equal(named.run(None, feeds)[0], alone.run(None, feeds)[0])
    # A session that has run the passes for other formats runs them again.
    for one in (named, rest, alone):
        other = one.with_options(rest.options)
        np.testing.assert_array_equal(other.run(None, FEEDS[0])[0], rest.run(None, FEEDS[0])[0])


def test_as_many_formats_as_parts():
    model = APART["an output"].model()
    found = dict(calibrate(model, FEEDS, bits=8).formats) | {"y": ["Q10.5"] * 3}
    message = r"^formats give 'y' 3 formats; give one, or one for each part: 'b', 's'"
    with pytest.raises(qengine.QEngineError, match=message):
        InferenceSession(model, formats=found)


@pytest.mark.parametrize("tie_joins", [False, True])
def test_parts_of_a_join_that_is_also_read_as_a_whole(tie_joins):
    nodes = [CAT, ("Split", "cat parts", "y u", {"axis": 1}), ("Conv", "cat v6", "z")]
    constants = {"parts": np.array([4, 2]), "v6": weights(2, 6, 1, 1, seed=5)}
    head = Head(nodes, lambda found: found[1], ("y", "u", "z"), constants)
    fixed = session(head.model(), bits=8, tie_joins=tie_joins)
    assert fixed.formats["u"] == fixed.formats["s"]
    assert least_sqnr(head, fixed) > 30


def test_tied_joins_have_one_format():
    found = calibrate(APART["an output"].model(), FEEDS, bits=8, tie_joins=True)
    assert found["y"] == [found["b"]] * 2
    assert QFormat.parse(found["b"]).bits == 16  # where the scores keep their signal
    assert "output 'y' has 16 bits" in found.notes[0]


@pytest.mark.parametrize("name", [*APART, *WHOLE])
def test_a_run_takes_the_formats_of_tied_joins(name):
    model = (APART | WHOLE)[name].model()
    fixed = session(model, bits=8, tie_joins=True)
    for output in (value.name for value in fixed.graph.outputs):
        assert isinstance(fixed.formats[output], QFormat)


@pytest.mark.parametrize("bits", [2, 9, 16])
def test_a_word_length_of_the_outputs(bits):
    for name in ("an output", "split", "also computed with"):
        model = (APART | WHOLE)[name].model()
        fixed = session(model, bits=8, output_bits=bits)
        outputs = {value.name for value in fixed.graph.outputs}
        for output in outputs:
            assert fixed.formats[output].bits == bits
        assert fixed.formats["x"].bits == fixed.formats["W"].bits == 8


@pytest.mark.parametrize("given", ["wide", 1, 17, 8.5, True])
def test_word_lengths_that_are_none(given):
    with pytest.raises(OptionError, match="output_bits"):
        calibrate(APART["an output"].model(), FEEDS, output_bits=given)


@pytest.mark.parametrize(("scale", "bits"), [(1, 8), (8, 8), (100, 16)])
def test_channels_of_very_different_range(scale, bits):
    kernel = np.concatenate([weights(3, 3, 1, 1, seed=1, scale=0.5 * scale), weights(3, 3, 1, 1, seed=2)])
    model = network([("Conv", "x w", "y")], constants={"w": kernel})
    found = calibrate(model, FEEDS, bits=8, per_channel=True)
    assert QFormat.parse(found["y"]).bits == bits
    assert (found.notes == ()) == (bits == 8)


def test_channels_that_one_function_bounds_alike_lose_nothing():
    bias = np.array([0, 0, 0, -9, -9, -9], np.float32)  # scores near 0 in all data
    model = network([("Conv", "x w c", "a"), ("Sigmoid", "a", "y")], constants={"w": weights(6, 3, 1, 1), "c": bias})
    found = calibrate(model, FEEDS, bits=8)
    assert QFormat.parse(found["y"]).bits == 8
    assert found.notes == ()


@pytest.mark.parametrize("samples", [1, 4, 8, 20])
def test_logits_of_a_few_samples_are_small_by_accident(samples):
    model = network([("Gemm", "x w", "y")], inputs={"x": [1, 8]}, constants={"w": weights(8, 500)})
    feeds = [{"x": weights(1, 8, seed=i)} for i in range(samples)]
    found = calibrate(model, feeds, bits=8, per_channel=True)
    assert QFormat.parse(found["y"]).bits == 8
    assert found.notes == ()


INNER = network(
    [("Conv", "x w", "c"), ("Relu", "c", "r"), ("Conv", "r v", "y")],
    constants={"w": MIXED, "v": weights(2, 6, 1, 1, seed=5)},
)


@pytest.mark.parametrize("isa", ["reference", None])
@pytest.mark.parametrize(
    ("options", "notes"),
    [
        (
            {"per_channel": True, "unsigned": False},
            [r"^U?Q\S+ of 'r' \(up to .*\) makes channels 4\.\.5 of 6 \(up to .*\) all zeros: try "],
        ),
        ({"per_channel": True, "bits": 12}, [r"^U?Q\S+ of 'r' .* leaves .* steps to channels 4\.\.5 of 6 \(up to"]),
        ({"per_channel": True, "bits": 16}, []),
        (
            {"per_channel": False},
            [r"of 'w' \(up to .*\) makes channels 4\.\.5 of 6 \(up to .*\) all zeros: try --per-channel$", "of 'r' "],
        ),
    ],
)
def test_channels_of_any_tensor_and_of_weights(isa, options, notes):
    found = choose_formats(observe(INNER, FEEDS, isa=isa), **options).notes
    assert len(found) == len(notes)
    for note, pattern in zip(found, notes, strict=True):
        assert re.search(pattern, note), note


def test_the_longest_word_is_not_advised_where_it_is_used():
    scale = np.float32([1, 1, 1, 1, 1e-5, 1e-5]).reshape(6, 1, 1, 1)
    model = network(
        [("Conv", "x w", "c"), ("Relu", "c", "r"), ("Conv", "r v", "y")],
        constants={"w": weights(6, 3, 1, 1) * scale, "v": weights(2, 6, 1, 1, seed=5)},
    )
    notes = calibrate(model, FEEDS, bits=16).notes
    assert any(re.search(r"of 'r' .* channels 4\.\.5 of 6", note) for note in notes), notes
    assert not any("bits" in note for note in notes), notes


def test_the_worst_losses_are_told_first_and_the_rest_counted():
    nodes = [("Conv", "x w", "c0")]
    for i in range(5):
        nodes += [("Relu", f"c{i}", f"r{i}"), ("Conv", f"r{i} v", f"c{i + 1}")]
    constants = {"w": MIXED, "v": np.diag([9, 9, 9, 9, 1, 1])[:, :, None, None].astype(np.float32)}
    model = network([*nodes, ("GlobalMaxPool", "c5", "y")], constants=constants)
    found = calibrate(model, FEEDS, bits=8, per_channel=True).notes
    assert sum("channels 4..5 of 6" in note for note in found) >= 3
    assert re.search("; so do(es)? [1-9] more tensors?$", found[-1])
