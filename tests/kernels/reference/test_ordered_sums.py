"""OrderedSums sums of products beside Python's own floats."""

import numpy as np
import pytest

from qengine.kernels.reference.ordered_sums import add_products


@pytest.mark.parametrize(("rows", "columns", "count"), [(1, 1, 1), (3, 5, 7), (40, 1030, 3), (2, 3, 0)])
def test_one_product_after_the_other(rows, columns, count):
    rng = np.random.default_rng(rows)
    total, left, right = (rng.normal(size=size) for size in ((rows, columns), (count, rows), (count, columns)))
    found = total.copy()
    add_products(found, left, right)
    for r in range(rows):
        for c in range(columns):
            wanted = float(total[r, c])
            for k in range(count):
                wanted += float(left[k, r]) * float(right[k, c])
            assert found[r, c] == wanted
