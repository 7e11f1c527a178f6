"""Sessions of small networks, shared by the tests of formats."""

from networks import network, weights

import qengine
from qengine import QFormat

Q = QFormat.parse
X = weights(1, 3, 6, 5, seed=1)


def session(nodes, formats=None, **options):
    """A session of a network with weights W (4, 3, 1, 1), V (4, 4, 1, 1), b (4) and a scalar k."""
    build = {key: options.pop(key) for key in ("inputs", "outputs", "opset") if key in options}
    constants = {
        "W": weights(4, 3, 1, 1),
        "V": weights(4, 4, 1, 1, seed=8),
        "b": weights(4, seed=9),
        "k": 3.0,
        **options.pop("constants", {}),
    }
    model = network(nodes, constants=constants, **build)
    return qengine.InferenceSession(model, formats=formats, **options)


CONV = ("Conv", "x W b", "c")
CHAIN = [CONV, ("Relu", "c", "r"), ("MaxPool", "r", "p", {"kernel_shape": [2, 2]}), ("Conv", "p V b", "y")]
