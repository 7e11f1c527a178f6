"""Places of a graph: boxes lie apart, edges go down, and equal graphs look equal."""

from itertools import pairwise

import numpy as np
import pytest

from qengine.html_report.graph_layout import BOX_HEIGHT, BOX_WIDTH, layout


def random_graph(nodes, seed, most=3):
    generator = np.random.default_rng(seed)
    return [
        sorted({int(i) for i in generator.integers(max(0, k - 12), k, generator.integers(0, most + 1))}) if k else []
        for k in range(nodes)
    ]


GRAPHS = {
    "nothing": [],
    "one": [[]],
    "chain": [[], [0], [1], [2]],
    "diamond": [[], [0], [0], [1, 2]],
    "skip": [[], [0], [1], [2], [0, 3]],
    "apart": [[], [], [0], [1]],
    "fan": [[], *[[0]] * 20, list(range(1, 21))],
    "long edge": [[], *[[k] for k in range(60)], [0, 60]],
    **{f"random {seed}": random_graph(80, seed) for seed in range(4)},
}


@pytest.mark.parametrize("sources", GRAPHS.values(), ids=GRAPHS)
def test_boxes_lie_apart_and_inside(sources):
    found = layout(sources)
    assert len(found.boxes) == len(sources)
    for x, y in found.boxes:
        assert x >= 0
        assert y >= 0
        assert x + BOX_WIDTH <= found.width
        assert y + BOX_HEIGHT <= found.height
    for i, (x, y) in enumerate(found.boxes):
        for left, top in found.boxes[:i]:
            assert abs(x - left) >= BOX_WIDTH or abs(y - top) >= BOX_HEIGHT


@pytest.mark.parametrize("sources", GRAPHS.values(), ids=GRAPHS)
def test_edges_go_down_from_box_to_box(sources):
    found = layout(sources)
    edges = [(source, target) for target, reads in enumerate(sources) for source in reads]
    assert len(found.edges) == len(edges)
    for (source, target), points in zip(edges, found.edges, strict=True):
        assert all(b[1] > a[1] for a, b in pairwise(points))
        for node, (x, y), height in ((source, points[0], BOX_HEIGHT), (target, points[-1], 0)):
            left, top = found.boxes[node]
            assert x == pytest.approx(left + BOX_WIDTH / 2)
            assert y == top + height
    assert layout(sources) == found


@pytest.mark.parametrize("name", ["diamond", "skip"])
def test_bends_do_not_cross_boxes(name):
    found = layout(GRAPHS[name])
    for points in found.edges:
        for x, y in points[1:-1]:
            for left, top in found.boxes:
                assert not (left < x < left + BOX_WIDTH and top < y < top + BOX_HEIGHT)


def test_a_chain_is_straight_and_a_diamond_symmetric():
    assert len({x for x, _ in layout(GRAPHS["chain"]).boxes}) == 1
    top, left, right, bottom = (x for x, _ in layout(GRAPHS["diamond"]).boxes)
    assert top == pytest.approx(bottom)
    assert (left + right) / 2 == pytest.approx(top)


def test_a_thousand_nodes_are_placed():
    assert len(layout(random_graph(1000, 9)).boxes) == 1000
