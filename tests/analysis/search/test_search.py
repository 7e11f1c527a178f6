"""The fewest bits: against every assignment that there is, on nets so small that all can be tried."""

from itertools import product

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import InferenceSession
from qengine.analysis.inspection.costs import Workload, find_cost
from qengine.analysis.search import search
from qengine.analysis.search.units import formats_of, units_of
from qengine.data.datasets import open_dataset
from qengine.errors import FeedError, OptionError, UnsupportedError
from qengine.model.loader import load
from qengine.qformat import QFormat
from qengine.quantization.calibration import CalibrationOptions, observe
from qengine.runtime.options import SessionOptions

BITS = (3, 4, 6, 8)
WITHIN = 1.1
"""A found cost is at most so many times the best there is. The search promises a local optimum only."""


def classifier(seed, bias=0.0):
    """Return a model whose tensors differ much in what they can bear."""
    rng = np.random.default_rng(seed)
    w1 = (rng.normal(size=(8, 12)) * rng.choice([0.1, 1.0, 3.0], size=12)).astype(np.float32)
    return network(
        [("Gemm", "x w1 b1", "h"), ("Relu", "h", "r"), ("Gemm", "r w2", "y")],
        inputs={"x": ["N", 8]},
        values={"y": (np.float32, ["N", 4])},
        outputs=("y",),
        constants={
            "w1": w1,
            "b1": weights(12, seed=seed) + np.float32(bias),
            "w2": (rng.normal(size=(12, 4))).astype(np.float32),
        },
    )


@pytest.fixture
def data(tmp_path):
    """Make a data set whose labels are what float32 says, but for some."""

    def made(model, count=96, *, labels=True, seed=0):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(count, 8)).astype(np.float32)
        (scores,) = InferenceSession(model).run(None, {"x": x})
        true = np.where(rng.random(count) < 0.1, 0, scores.argmax(axis=1))
        np.savez(tmp_path / "data.npz", x=x, **({"labels": true} if labels else {}))
        return open_dataset(str(tmp_path / "data.npz"), load(model), batch=32)

    return made


def figures(model, dataset, metric):
    """Return a function that gives a metric of formats, by its definition."""
    x = np.concatenate([batch.feeds["x"] for batch in dataset.batches()])
    (exact,) = InferenceSession(model).run(None, {"x": x})

    def figure(formats):
        (y,) = InferenceSession(model, formats=formats).run(None, {"x": x})
        if metric == "sqnr":
            wide = exact.astype(np.float64)
            return 10 * np.log10(np.sum(wide**2) / np.sum((wide - y) ** 2))
        return np.mean(y.argmax(axis=1) == (dataset.labels if metric == "top1" else exact.argmax(axis=1)))

    return figure


def price(model, formats, cost):
    """Return what formats cost, by another count than the search's."""
    session = InferenceSession(model, formats=formats)
    work = Workload(session, {"x": np.zeros((1, 8), np.float32)}, 1)
    if cost == "weights":
        return 8 * find_cost("weights").total(work)
    if cost == "macs":
        return find_cost("macs").total(work)
    sizes = {"x": 8, "r": 12, "y": 4}
    return sum(size * session.formats[name].bits for name, size in sizes.items())


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("cost", "metric", "drop", "free"),
    [
        ("macs", "sqnr", {"least": 18.0}, (0, 1, 2, 3)),
        ("macs", "top1", {"max_drop": "4%"}, (0, 1, 2, 3)),
        ("weights", "agreement", {"max_drop": 5}, (1, 3)),
        ("activations", "sqnr", {"max_drop": 12.0}, (0, 2, 4)),
    ],
)
def test_it_is_near_the_best_of_all_assignments(data, seed, cost, metric, drop, free):
    model = classifier(seed)
    # Of few samples a share is a matter of chance, and so is the best assignment.
    dataset = data(model, 96 if metric == "sqnr" else 800, labels=metric == "top1", seed=seed)
    found = search(model, dataset, metric=metric, cost=cost, bits=BITS, **drop)
    figure = figures(model, dataset, metric)

    observation = observe(load(model), [b.feeds for b in dataset.batches()])
    units = units_of(observation, CalibrationOptions(), BITS, BITS, SessionOptions())
    assert [unit.name for unit in units] == ["x", "w1", "r", "w2", "y"]
    every = {}
    for widths in product(BITS, repeat=len(free)):
        all_widths = [8] * 5
        for place, width in zip(free, widths, strict=True):
            all_widths[place] = width
        formats = formats_of(units, all_widths)
        every[tuple(all_widths)] = (price(model, formats, cost), figure(formats))

    # What was found is one of them, costs what it says, and holds what was asked for.
    assert found.best.widths in every
    assert (found.best.cost, pytest.approx(found.best.value, abs=1e-3)) == every[found.best.widths]
    assert every[found.best.widths][1] >= found.least - 1e-9
    least = min(cost for cost, value in every.values() if value >= found.least)
    assert found.best.cost <= WITHIN * least
    assert found.is_complete
    assert found.runs < len(every) or len(free) == 2

    # No neighbour is better: one shorter, or one shorter and another longer.
    for widths, (cost_there, value) in every.items():
        steps = [BITS.index(a) - BITS.index(b) for a, b in zip(widths, found.best.widths, strict=True)]
        moved = sorted(step for step in steps if step)
        if moved in ([-1], [-1, 1]) and cost_there < found.best.cost:
            assert value < found.least, widths


def test_the_written_file_holds_what_was_asked_for(data, tmp_path):
    model = classifier(5)
    dataset = data(model)
    found = search(model, dataset, metric="top1", max_drop="3%", cost="macs", bits=range(2, 17))
    found.save(tmp_path / "formats.json")
    session = InferenceSession(model, formats=tmp_path / "formats.json")
    right = total = 0
    for batch in dataset.batches():
        (y,) = session.run(None, batch.feeds)
        right += int(np.sum(y.argmax(axis=1) == batch.labels))
        total += batch.count
    assert right / total == found.best.value
    assert right / total >= found.reference - 0.03 - 1e-9
    assert {unit.name: unit.bits for unit in found.units if unit.kind == "constant"} == {
        name: session.formats[name].bits for name in ("w1", "w2")
    }
    assert price(model, found.formats, "macs") == found.best.cost


def test_tensors_that_share_a_format_move_together(tmp_path):
    model = network(
        [
            ("Conv", "x w", "c"),
            ("Relu", "c", "r"),
            ("MaxPool", "r", "m", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Flatten", "m", "f"),
            ("MatMul", "f v", "y"),
        ],
        inputs={"x": ["N", 2, 6, 6]},
        constants={"w": weights(4, 2, 3, 3, seed=1), "v": weights(16, 3, seed=2)},
    )
    np.savez(tmp_path / "data.npz", x=weights(24, 2, 6, 6, seed=3))
    dataset = open_dataset(str(tmp_path / "data.npz"), load(model), batch=8)
    found = search(model, dataset, metric="sqnr", least=15, cost="activations")
    by_name = {unit.name: unit for unit in found.units}
    assert set(by_name["r"].tensors) == {"c", "r", "m", "f"}
    assert len({found.formats[name] for name in by_name["r"].tensors}) == 1
    assert by_name["r"].bits < 16
    assert [unit.bits for unit in found.units if unit.kind == "constant"] == [16, 16]
    assert by_name["w"].sensitivity == {}
    assert any("2 tensors add nothing to activation memory" in note for note in found.notes)
    # Every tensor that a run keeps counts, moved codes too.
    sizes = {"x": 72, "r": 64, "m": 16, "f": 16, "y": 3}
    session = InferenceSession(model, formats=found.formats)
    assert found.best.cost == sum(size * session.formats[name].bits for name, size in sizes.items())


def test_sensitivity_is_that_of_a_tensor_alone(data):
    from qengine.analysis.blame import blame

    model = classifier(7)
    dataset = data(model, labels=False)
    found = search(model, dataset, metric="sqnr", least=10, cost="macs", bits=(4, 8), sensitivity_samples=96)
    session = InferenceSession(model, formats=qengine.calibrate(model, dataset, bits=4))
    blamed = blame(session, dataset)
    for name in ("x", "w1", "r", "w2"):
        (unit,) = [unit for unit in found.units if unit.name == name]
        assert unit.sensitivity[4] == pytest.approx(blamed[name].sensitivity, rel=1e-6)
        assert unit.sensitivity[8] < unit.sensitivity[4]


def test_it_is_never_worse_than_one_word_length_for_all(data):
    model = classifier(9)
    found = search(model, data(model), cost="macs", bits=BITS, max_drop=5)
    good = [one.cost for one in found.uniform.values() if found.is_good(one)]
    assert found.uniform.keys() == set(BITS)
    assert found.best.cost <= min(good)


def test_the_front_is_what_nothing_beats(data):
    model = classifier(9)
    found = search(model, data(model), cost="macs", bits=BITS, max_drop=5)
    costs, values = ([getattr(one, key) for one in found.front] for key in ("cost", "value"))
    assert costs == sorted(set(costs))
    assert values == sorted(set(values))
    assert found.best in found.front or any(
        one.cost == found.best.cost and one.value >= found.best.value for one in found.front
    )


def test_it_is_deterministic(data):
    model = classifier(4)
    first, second = (search(model, data(model), cost="macs", bits=BITS, max_drop=5) for _ in range(2))
    assert first == second


def test_runs_and_time_end_it(data):
    model = classifier(4)
    dataset = data(model)
    for limit in ({"max_runs": 3}, {"seconds": 0.0}):
        found = search(model, dataset, cost="macs", bits=BITS, max_drop=5, **limit)
        assert not found.is_complete
        assert found.runs == limit.get("max_runs", 1)
        assert found.is_good(found.best)
        assert any("there may be better formats" in note for note in found.notes)
    assert search(model, dataset, cost="macs", bits=BITS, max_drop=5, seconds=0.0).best.widths == (8,) * 5


def test_one_kind_can_stay_as_it_is(data):
    model = classifier(4)
    found = search(model, data(model), cost="macs", bits=BITS, activation_bits=[8], max_drop=5)
    assert {unit.bits for unit in found.units if unit.kind == "activation"} == {8}
    assert min(unit.bits for unit in found.units if unit.kind == "constant") < 8
    # One word length for all that is chosen for.
    assert found.uniform[4].widths == (8, 4, 8, 4, 8)


def test_options_of_formats_and_of_arithmetic(data):
    model = classifier(4)
    calibration = CalibrationOptions(per_channel=True, unsigned=True)
    arithmetic = {"rounding": "floor", "accumulator_bits": 24}
    found = search(model, data(model), cost="macs", bits=BITS, max_drop=8, calibration=calibration, **arithmetic)
    assert isinstance(found.formats["w1"], list)
    assert found.formats["r"].startswith("UQ")
    session = InferenceSession(model, formats=found.formats, **arithmetic)
    x = np.concatenate([batch.feeds["x"] for batch in data(model).batches()])
    (y,) = session.run(None, {"x": x})
    assert np.mean(y.argmax(axis=1) == data(model).labels) == found.best.value


@pytest.mark.parametrize("wraps", [{"overflow": "wrap"}, {"target": "ap-fixed"}])
def test_formats_hold_sums_that_wrap(data, wraps):
    model = classifier(4, bias=-8.0)
    calibration = CalibrationOptions(method="max")
    found = search(model, data(model), cost="macs", activation_bits=[8], max_drop=96, calibration=calibration, **wraps)
    x = np.concatenate([batch.feeds["x"] for batch in data(model).batches()])
    (sums,) = InferenceSession(model).run(["h"], {"x": x})
    fmt = QFormat.parse(found.formats["r"])
    assert fmt.signed
    assert -(2**fmt.integer_bits) < sums.min() * 1.03
    assert sums.max() * 1.03 < 2**fmt.integer_bits


def test_progress(data):
    from contextlib import contextmanager

    reported = {}

    @contextmanager
    def progress(what, total):
        done = []
        yield done.append
        reported[what.partition("|")[0]] = (total, sum(done))

    model = classifier(4)
    found = search(model, data(model), cost="macs", bits=BITS, max_drop=5, sensitivity_samples=40, progress=progress)
    assert reported["float32"] == (96, 96)
    assert reported["calibrating"] == (96, 96)
    assert reported["measuring tensors"] == (40, pytest.approx(40))  # although whole batches are run
    assert reported["searching"] == (500, found.runs)


def test_what_cannot_be_done_is_said(data, tmp_path):
    model = classifier(4)
    dataset = data(model)
    with pytest.raises(OptionError, match=r"even with the longest words sqnr is .*, and 90 is required"):
        search(model, dataset, metric="sqnr", least=90)
    with pytest.raises(OptionError, match="give one of them"):
        search(model, dataset, least=0.9, max_drop=1)
    with pytest.raises(OptionError, match="no cost is named 'area'; there are weights, activations, bit-operations"):
        search(model, dataset, cost="area")
    with pytest.raises(OptionError, match="bits must be a whole number, 2 to 16, not 17"):
        search(model, dataset, bits=[4, 17])
    with pytest.raises(OptionError, match="there are no word lengths for constants"):
        search(model, dataset, weight_bits=[])
    with pytest.raises(OptionError, match="top1 needs labels"):
        search(model, data(model, labels=False), metric="top1")
    named = network(
        [("Gemm", "x w", "s"), ("ArgMax", "s", "y", {"axis": 1, "keepdims": 0})],
        inputs={"x": ["N", 8]},
        values={"y": (np.int64, ["N"])},
        constants={"w": weights(8, 3, seed=1)},
    )
    with pytest.raises(UnsupportedError, match="output 'y' holds no real numbers, in which the noise"):
        search(named, data(model))
    dataset.labels[0] = 4  # of classes 0 to 3
    with pytest.raises(FeedError, match="labels reach from 0 to 4, and the 4 classes of output 'y'"):
        search(model, dataset)
    decided = network(
        [("Relu", "x", "r"), ("NonZero", "r", "n"), ("Cast", "n", "c", {"to": 1}), ("Add", "c c", "y")],
        inputs={"x": [2, 6]},
    )
    np.savez(tmp_path / "two.npz", x=weights(1, 2, 6)[0])
    with pytest.raises(UnsupportedError, match="the data decides how this model runs"):
        search(decided, open_dataset(str(tmp_path / "two.npz"), load(decided)), metric="sqnr", cost="activations")


def test_outputs_that_are_not_measured_are_named(tmp_path):
    """A bit that only another output needs costs nothing of what is measured."""
    nodes = [("Gemm", "x w1", "h"), ("Gemm", "h w2", "y"), ("Gemm", "h w3", "z")]
    constants = {name: weights(4, 4, seed=i) for i, name in enumerate(("w1", "w2", "w3"))}
    model = network(nodes, inputs={"x": ["N", 4]}, outputs=("y", "z"), constants=constants)
    np.savez(tmp_path / "d.npz", x=weights(16, 4, seed=4))
    graph = load(model)
    dataset = open_dataset(str(tmp_path / "d.npz"), graph)
    found = search(graph, dataset, metric="sqnr", least=20.0)
    assert [note for note in found.notes if "only output 'y' is measured, and the others ('z') may lose more" in note]
    alone = network(nodes[:2], inputs={"x": ["N", 4]}, outputs=("y",), constants=constants)
    assert not [note for note in search(load(alone), dataset, metric="sqnr", least=20.0).notes if "is measured" in note]
