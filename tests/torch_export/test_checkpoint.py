import pytest

from qengine.errors import QEngineError
from qengine.torch_export import (
    SRCNN,
    strip_prefix,
)


@pytest.mark.parametrize("prefix", [None, "generator", "generator."])
def test_strip_prefix(prefix):
    state = {f"generator.{name}": value for name, value in SRCNN().state_dict().items()}
    stripped = strip_prefix(state, prefix)
    assert list(stripped) == list(SRCNN().state_dict())
    assert all(stripped[name] is state[f"generator.{name}"] for name in stripped)
    SRCNN().load_state_dict(stripped)


def test_strip_prefix_of_a_whole_checkpoint():
    checkpoint = {"epoch": 3, "state_dict": {"module.net.weight": 1, "module.net.bias": 2}}
    assert strip_prefix(checkpoint) == {"net.weight": 1, "net.bias": 2}
    assert strip_prefix(checkpoint, "module.net") == {"weight": 1, "bias": 2}


@pytest.mark.parametrize(
    ("state", "prefix", "message"),
    [
        ({}, None, "holds no tensors"),
        ({"state_dict": {}}, None, "holds no tensors"),
        ({"net.weight": 1, "other.weight": 2}, None, "key 'other.weight' does not begin with 'net.'"),
        ({"net.weight": 1, "network.weight": 2}, "net", "key 'network.weight' does not begin with 'net.'"),
        ({"weight": 1}, None, "key 'weight' does not begin with 'weight.'"),
        ({"net.weight": 1}, "gen", "key 'net.weight' does not begin with 'gen.'"),
    ],
)
def test_strip_prefix_refuses(state, prefix, message):
    with pytest.raises(QEngineError, match=message):
        strip_prefix(state, prefix)
