"""Keys: the same for the same, and another for anything else."""

from dataclasses import fields, replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from qengine.analysis.sweep import Point
from qengine.analysis.sweep.key import Context
from qengine.model.digest import graph_digest
from qengine.model.loader import load

from .conftest import classifier_bytes

CONTEXT = Context("m", "d", "0.1.0", 1, "Preprocessing()", True, False, 1 << 30)
WIDTHS = st.none() | st.integers(2, 16)
WORDS = st.none() | st.sampled_from(["mse", "max", "half_even", "floor", "wrap", "Q4.3", '{"x": "Q4.3"}'])
OF_TYPE = {
    "weight_bits": WIDTHS,
    "activation_bits": WIDTHS,
    "accumulator_bits": WIDTHS,
    "percentile": st.none() | st.floats(1, 100),
    **dict.fromkeys(("per_channel", "unsigned", "tie_joins"), st.booleans()),
    **dict.fromkeys(("method", "qformat", "formats", "target", "target_rules", "rounding", "overflow"), WORDS),
    "headroom": st.none() | st.floats(1, 100),
    "output_bits": st.none() | st.sampled_from(["auto", "16"]),
    "recipe": st.none() | st.sampled_from(["none", "fold", "fold+bias"]),
    "formats_name": st.none(),
}
POINTS = st.builds(Point, **OF_TYPE)


def test_every_option_is_tried():
    assert set(OF_TYPE) == {field.name for field in fields(Point)}


@given(POINTS, POINTS)
def test_points_have_one_key_if_they_are_equal_and_two_if_not(a, b):
    assert (CONTEXT.point_key(a) == CONTEXT.point_key(b)) == (a == b)
    assert CONTEXT.point_key(a) == CONTEXT.point_key(replace(a))


@given(POINTS, st.data())
def test_any_changed_option_changes_the_key(point, data):
    name = data.draw(st.sampled_from([name for name in OF_TYPE if name != "formats_name"]))
    value = data.draw(OF_TYPE[name].filter(lambda value: value != getattr(point, name)))
    assert CONTEXT.point_key(replace(point, **{name: value})) != CONTEXT.point_key(point)


def test_what_a_file_is_called_changes_nothing():
    assert CONTEXT.point_key(Point(formats="{}", formats_name="a")) == CONTEXT.point_key(
        Point(formats="{}", formats_name="b")
    )


@pytest.mark.parametrize("name", [field.name for field in fields(Context)])
def test_anything_around_the_points_changes_all_keys(name):
    value = getattr(CONTEXT, name)
    other = replace(CONTEXT, **{name: (not value) if isinstance(value, bool) else value + type(value)(1)})
    assert other.key != CONTEXT.key
    assert other.point_key(Point(weight_bits=8, activation_bits=8)) != CONTEXT.point_key(
        Point(weight_bits=8, activation_bits=8)
    )


def changed(change):
    proto = onnx.load_from_string(classifier_bytes())
    change(proto.graph)
    return graph_digest(load(proto))


def test_a_model_is_known_by_what_it_computes(tmp_path):
    before = graph_digest(load(classifier_bytes()))
    assert graph_digest(load(classifier_bytes())) == before
    assert graph_digest(load(classifier_bytes(seed=5))) != before

    def one_weight(graph):
        array = numpy_helper.to_array(graph.initializer[0]).copy()
        array.flat[-1] = np.nextafter(array.flat[-1], np.float32(9))
        graph.initializer[0].CopyFrom(numpy_helper.from_array(array, graph.initializer[0].name))

    def attribute(graph):
        graph.node[0].attribute[0].ints[0] = 0

    def operator(graph):
        graph.node[1].op_type = "Sigmoid"

    def rename(graph):
        graph.name = "another"

    digests = [changed(change) for change in (one_weight, attribute, operator)]
    assert len({before, *digests}) == 4
    assert changed(rename) == before


def test_external_data_counts(tmp_path):
    found = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "model.onnx"
        onnx.save_model(
            onnx.load_from_string(classifier_bytes(seed)),
            path,
            save_as_external_data=True,
            size_threshold=0,
            location="weights.bin",
        )
        found.append(graph_digest(load(path)))
    # The files of the model itself are equal, but for what the weights hold.
    assert (tmp_path / "a/model.onnx").read_bytes() == (tmp_path / "c/model.onnx").read_bytes()
    assert found[0] == found[1] == graph_digest(load(classifier_bytes()))
    assert found[2] != found[0]
