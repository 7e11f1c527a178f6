"""Rounding column by column: the least error that there is, or near it, and never more than rounding to nearest."""

from itertools import product

import numpy as np
import pytest

from qengine.kernels.isa import VARIABLE, available
from qengine.quantization.correction.rounding import _round_greedily, _upper_factor, output_error, round_columns


def problem(seed, filters=4, columns=3, groups=1, rows=40):
    """Return weights in steps and the products of inputs that depend on each other and have a mean."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(groups, columns, columns))
    x = np.maximum(rng.normal(size=(groups, rows, columns)) @ mixing, 0)
    return rng.normal(size=(groups, filters, columns)) * 3, np.rint(x * 64).swapaxes(1, 2) @ np.rint(x * 64)


def least_error(weights, products, least, most):
    """Return the least error of each filter over all codes within two of nearest."""
    near = np.clip(np.rint(weights), least, most)
    found = np.full(weights.shape[:2], np.inf)
    for step in product(range(-2, 3), repeat=weights.shape[2]):
        codes = np.clip(near + np.array(step), least, most)
        found = np.minimum(found, output_error(weights - codes, products))
    return found


def error(weights, codes, products):
    return output_error(weights - codes, products)


@pytest.mark.parametrize("seed", range(40))
def test_three_weights_against_all_their_neighbours(seed):
    weights, products = problem(seed)
    best = least_error(weights, products, -8, 7)
    found = error(weights, round_columns(weights, products, -8, 7), products)
    nearest = error(weights, np.clip(np.rint(weights), -8, 7), products)
    assert (found >= best - 1e-6 * best).all()  # enumerating was right
    assert (found <= nearest).all()


def test_most_filters_of_three_weights_are_the_best_there_are():
    hits, filters, ours, least, nearest = 0, 0, 0.0, 0.0, 0.0
    for seed in range(100):
        weights, products = problem(seed)
        best = least_error(weights, products, -8, 7)
        found = error(weights, round_columns(weights, products, -8, 7), products)
        hits, filters = hits + np.count_nonzero(found <= best * (1 + 1e-9)), filters + best.size
        ours, least = ours + found.sum(), least + best.sum()
        nearest += error(weights, np.clip(np.rint(weights), -8, 7), products).sum()
    assert hits / filters > 0.85
    assert ours < 1.08 * least < 0.75 * nearest, (ours / least, nearest / least)


def test_any_order_of_the_weights_in_memory():
    """A MatMul keeps its filters in columns, so that blocks of them are no rows in one piece."""
    weights, products = problem(3, filters=6, columns=9)
    wanted = round_columns(weights, products, -8, 7)
    turned = np.ascontiguousarray(weights.swapaxes(1, 2)).swapaxes(1, 2)
    np.testing.assert_array_equal(round_columns(turned, products, -8, 7), wanted)
    np.testing.assert_array_equal(error(turned, 0 * turned, products), error(weights, 0 * weights, products))


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("least", "most"), [(-128, 127), (-8, 7), (-2, 1)])
def test_never_worse_than_nearest_for_any_filter(seed, least, most):
    weights, products = problem(seed, filters=6, columns=1 + seed, groups=1 + seed % 3)
    codes = round_columns(weights, products, least, most)
    nearest = np.clip(np.rint(weights), least, most)
    assert (error(weights, codes, products) <= error(weights, nearest, products)).all()
    assert least <= codes.min() <= codes.max() <= most
    np.testing.assert_array_equal(codes, np.rint(codes))
    once = round_columns(weights, products, least, most, sweeps=0)
    assert least <= once.min() <= once.max() <= most


def test_many_columns_gain_decibels():
    weights, products = problem(5, filters=32, columns=48, rows=400)
    codes = round_columns(weights, products, -128, 127)
    gain = error(weights, np.rint(weights), products).sum() / error(weights, codes, products).sum()
    assert 10 * np.log10(gain) > 3


def test_the_sweeps_and_the_columns_both_help():
    weights, products = problem(6, filters=32, columns=48, rows=400)
    none, one, two, usual = (
        error(weights, round_columns(weights, products, -128, 127, **options), products).sum()
        for options in ({"sweeps": 0}, {"sweeps": 1}, {"sweeps": 2}, {})
    )
    assert usual <= two < one < none < error(weights, np.rint(weights), products).sum()


def test_the_columns_are_those_of_the_inverse():
    """GPTQ as it is written, with the Cholesky factor of the inverse."""
    weights, products = problem(7, filters=8, columns=10, rows=200)
    order = np.argsort(-np.diagonal(products[0]), kind="stable")
    ours = _round_greedily(weights, products, -128, 127)[0]
    left, codes = weights[0][:, order].copy(), np.zeros((8, 10))
    factor = np.linalg.cholesky(np.linalg.inv(products[0][np.ix_(order, order)])).T
    for i in range(10):
        codes[:, i] = np.rint(left[:, i])
        left[:, i + 1 :] -= ((left[:, i] - codes[:, i]) / factor[i, i])[:, None] * factor[i, i + 1 :]
    np.testing.assert_array_equal(ours[:, order], codes)


def test_the_factor():
    _, products = problem(8, columns=12, groups=3)
    factor = _upper_factor(products)
    np.testing.assert_allclose(factor @ factor.swapaxes(1, 2), products, rtol=1e-9, atol=1e-6)
    np.testing.assert_array_equal(factor, np.triu(factor))


def test_groups_do_not_meet():
    weights, products = problem(9, columns=9, groups=4)
    together = round_columns(weights, products, -8, 7)
    for g in range(4):
        np.testing.assert_array_equal(
            together[g : g + 1], round_columns(weights[g : g + 1], products[g : g + 1], -8, 7)
        )


@pytest.mark.parametrize("damping", [0.01, 0.5, 5.0])
def test_damping_is_a_share_of_each_groups_own_products(damping):
    """Products that are larger by a power of two in one group change no code in any."""
    weights, products = problem(14, filters=16, columns=12)
    weights, products = np.repeat(weights, 3, 0), np.repeat(products, 3, 0) * np.exp2([0, 20, -20])[:, None, None]
    together = round_columns(weights, products, -8, 7, damping=damping)
    assert (together != np.clip(np.rint(weights), -8, 7)).any()
    for codes in together[1:]:
        np.testing.assert_array_equal(codes, together[0])


def test_damping_is_added_to_the_diagonal():
    weights, products = problem(15, filters=40, columns=12)
    nearest, rounded = np.clip(np.rint(weights), -8, 7), []
    for damping in (0.0, 0.3, 3.0):
        codes = round_columns(weights, products, -8, 7, damping=damping)
        damped = products + damping * np.trace(products[0]) / 12 * np.eye(12)
        by_hand = round_columns(weights, damped, -8, 7, damping=0.0)
        # Filters are compared with nearest by the error itself, and not by the damped one.
        is_better = error(weights, by_hand, products) < error(weights, nearest, products)
        wanted = np.where(is_better[..., None], by_hand, nearest)
        differs = (by_hand != nearest).any(axis=2)
        assert differs.mean() > 0.4
        np.testing.assert_array_equal(codes[differs], wanted[differs])
        rounded.append(codes)
    assert not np.array_equal(rounded[0], rounded[1])
    defaults = round_columns(weights, products, -8, 7)
    np.testing.assert_array_equal(defaults, round_columns(weights, products, -8, 7, damping=0.01))
    assert not np.array_equal(defaults, rounded[1])


def test_what_is_never_read_is_rounded_to_nearest():
    weights, products = problem(10, columns=6, groups=3)
    products[1] = 0
    products[2, 3], products[2, :, 3] = 0, 0
    codes = round_columns(weights, products, -8, 7)
    np.testing.assert_array_equal(codes[:1], round_columns(weights[:1], products[:1], -8, 7))
    assert (codes[0] != np.clip(np.rint(weights[0]), -8, 7)).any()
    np.testing.assert_array_equal(codes[1], np.clip(np.rint(weights[1]), -8, 7))
    np.testing.assert_array_equal(codes[2, :, 3], np.clip(np.rint(weights[2, :, 3]), -8, 7))
    np.testing.assert_array_equal(
        round_columns(weights, np.zeros_like(products), -8, 7), np.clip(np.rint(weights), -8, 7)
    )


def test_the_grid_itself_stays():
    weights, products = problem(11, columns=9)
    codes = np.clip(np.rint(weights), -8, 7)
    np.testing.assert_array_equal(round_columns(codes, products, -8, 7), codes)


@pytest.mark.parametrize("isa", [isa.name for isa in available()])
@pytest.mark.parametrize(("groups", "columns", "filters"), [(1, 150, 9), (3, 9, 1), (2, 130, 70)])
def test_native_kernels_round_alike(groups, columns, filters, isa, monkeypatch):
    weights, products = problem(12, filters, columns, groups, rows=2 * columns)
    codes = round_columns(weights, products, -128, 127)
    factor = _upper_factor(products + np.eye(columns))
    monkeypatch.setenv(VARIABLE, isa)
    np.testing.assert_array_equal(round_columns(weights, products, -128, 127), codes)
    np.testing.assert_array_equal(_upper_factor(products + np.eye(columns)), factor)


def test_blocks_of_columns_change_no_bit():
    weights, products = problem(13, filters=5, columns=140, rows=300)
    order = np.argsort(-np.diagonal(products[0]), kind="stable")
    products[0] += 1e3 * np.eye(140)
    factor, rest = np.zeros((140, 140)), products[0].copy()
    for i in reversed(range(140)):
        factor[: i + 1, i] = rest[: i + 1, i] / np.sqrt(rest[i, i])
        rest[:i, :i] -= factor[:i, i, None] * factor[:i, i]
    np.testing.assert_array_equal(_upper_factor(products)[0], factor)
    factor = _upper_factor(products[:, order][:, :, order])[0]
    codes, pull = np.zeros((5, 140)), np.zeros((5, 140))
    for i, column in enumerate(order):
        codes[:, column] = np.clip(np.rint(weights[0, :, column] + pull[:, i] / factor[i, i]), -128, 127)
        pull[:, i + 1 :] += (weights[0, :, column] - codes[:, column])[:, None] * factor[i, i + 1 :]
    np.testing.assert_array_equal(_round_greedily(weights, products, -128, 127)[0], codes)
