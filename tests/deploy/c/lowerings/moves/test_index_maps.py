"""Index maps: every form that is found gives the map back."""

import numpy as np
import pytest

from qengine.deploy.c.ir import CTensor
from qengine.deploy.c.lowerings.moves import index_maps
from qengine.deploy.c.lowerings.moves.index_maps import FILL
from qengine.deploy.c.lowerings.nests import Nest, progressions


def _tensor(shape, order=None):
    order = tuple(range(len(shape))) if order is None else order
    return CTensor("t", "t", np.dtype(np.int8), tuple(shape), order, None, "arena", (-128, 127))


def _run_copied(found, y):
    """Return the map that a copy by loops makes."""
    flat = np.full(y.size, FILL)
    nest = found.nest
    for at in np.ndindex(*nest.lengths):
        x_place, y_place = (sum(i * s for i, s in zip(at, steps, strict=True)) for steps in nest.steps)
        flat[found.y + y_place] = found.x + x_place
    return flat


def _run_tables(found):
    rows, columns = np.meshgrid(found.rows, found.columns, indexing="ij")
    heads = np.where((rows == FILL) | (columns == FILL), FILL, rows + columns).reshape(-1)
    heads = np.concatenate([np.where(heads == FILL, FILL, heads + o * found.step) for o in range(found.outer)])
    return np.concatenate([[h + i if h != FILL else FILL for i in range(found.block)] for h in heads])


MOVES = {
    "identity": lambda v, _: v,
    "transposed": lambda v, _: v.transpose(2, 0, 1),
    "reversed": lambda v, _: v[::-1, :, ::-2],
    "repeated": lambda v, _: np.repeat(np.tile(v, (2, 1, 1)), 3, axis=1),
    "padded": lambda v, fill: np.pad(v, ((0, 0), (1, 2), (2, 0)), constant_values=fill),
    "mirrored": lambda v, _: np.pad(v, ((0, 0), (1, 2), (2, 1)), mode="reflect"),
    "picked": lambda v, _: v[:, [2, 0, 2, 3]][..., [4, 0, 1]],
    "shuffled": lambda v, _: v.reshape(-1)[np.random.default_rng(0).permutation(v.size)],
    "filled": lambda v, fill: np.full((3, 4), fill),
    "filled in parts": lambda v, fill: np.where(np.arange(5) % 2, v, fill),
    "one": lambda v, _: v[1:, 2:3, 4:],
}


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 1, 0)])
@pytest.mark.parametrize("name", MOVES)
def test_forms_give_the_map_back(name, order):
    """Loops where there are any, and tables always."""
    found = index_maps.probed(MOVES[name], (2, 4, 5))
    expected = np.asarray(MOVES[name](np.arange(40).reshape(2, 4, 5), FILL))
    assert np.array_equal(found, expected)
    x, y = _tensor((2, 4, 5), order), _tensor(found.shape)
    flat = index_maps.in_memory(found, x, y)
    codes = np.random.default_rng(1).integers(0, 100, (2, 4, 5))
    moved = np.append(x.placed(codes), 777)[flat]
    assert np.array_equal(moved, np.append(codes, 777)[expected].reshape(-1))
    loops = index_maps.copied(flat, y)
    if loops is not None:
        assert np.array_equal(_run_copied(loops, y), flat)
    assert np.array_equal(_run_tables(index_maps.tables(flat)), flat)
    first = index_maps.contiguous(flat)
    assert (first is not None) == (flat.min() >= 0 and np.array_equal(flat, flat[0] + np.arange(flat.size)))


def test_which_moves_are_loops():
    """Transposes, cuts, repetitions and constant borders are loops; mirrors and picks are not."""
    loops = {}
    for name, move in MOVES.items():
        found = index_maps.probed(move, (2, 4, 5))
        loops[name] = index_maps.copied(found.reshape(-1), _tensor(found.shape)) is not None
    assert [name for name, is_loop in loops.items() if not is_loop] == [
        "mirrored",
        "picked",
        "shuffled",
        "filled",
        "filled in parts",
    ]


def test_tables_are_small():
    """Neighbours stay together, rows and columns have tables of their own, and equal planes share them."""
    picked = np.arange(3 * 8 * 10 * 4).reshape(3, 8, 10, 4)[:, [1, 0, 5, 2]][:, :, [3, 1, 0, 7, 9]]
    found = index_maps.tables(picked.reshape(-1))
    assert (found.outer, found.rows.size, found.columns.size, found.block) == (3, 4, 5, 4)


def test_a_function_that_compares_is_no_map():
    """The second run on other numbers finds a function that reads its elements."""
    with pytest.raises(AssertionError, match="reads its elements"):
        index_maps.probed(lambda v, _: np.maximum(v, 3), (8,))


def test_progressions():
    """Loops are found from the inside; a step of 0 repeats."""
    columns = np.array([[0, 0], [0, 1], [4, 2], [4, 3], [8, 4], [8, 5]])
    assert progressions(columns, 2) == Nest((3, 2), ((4, 0), (2, 1)))
    assert progressions(columns, 1) is None
    assert progressions(columns[:1], 2) == Nest((), ((), ()))


@pytest.mark.parametrize(
    ("reads", "unit", "distance"),
    [([0, 2, 4, 6], 1, -1), ([0, 1, 2, 3], 1, -1), ([3, 2, 1, 0], 1, -4), ([0, 8, 16], 4, -4), ([2, 3, 4], 1, 0)],
)
def test_overlap(reads, unit, distance):
    """No unit is written onto an element that it, or one after it, reads."""
    assert index_maps.overlap(np.array(reads), unit) == distance
