"""Notes on nodes in float32: one each where they are few."""

from qengine.analysis.islands import island_notes

BEGIN = "computed in float32, without a fixed-point rule"


def test_few_nodes_have_a_line_each():
    assert list(island_notes([f"node '{i}' (Einsum)" for i in range(6)])) == [
        f"{BEGIN}: node '{i}' (Einsum)" for i in range(6)
    ]
    assert list(island_notes([])) == []


def test_many_share_one():
    found = list(island_notes([f"node '{i}' (Einsum)" for i in range(40)]))
    assert found == [f"{BEGIN}: 40 nodes, such as node '0' (Einsum), node '1' (Einsum)"]


def test_a_model_that_is_quantized_already_is_said_to_be():
    nodes = ["node 'a' (QuantizeLinear)", "node 'b' (DequantizeLinear)", "node 'c' (Einsum)"]
    first, second = island_notes(nodes)
    assert first.startswith("2 nodes of the model's own quantization")
    assert first.endswith("give the model before quantization")
    assert second == f"{BEGIN}: node 'c' (Einsum)"
