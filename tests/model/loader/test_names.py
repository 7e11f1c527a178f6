from qengine.model.loader import load
from qengine.model.loader.names import MAX_DEPTH

from .models import branch, conditional, info, init, model, node, refused, relu


def test_names_that_stand_for_two_tensors():
    two = [info("x"), info("x")]
    refused(model([node("Relu", ["x"], ["y"])], two), "input 'x'")
    refused(relu(inits=[init("w", [1.0]), init("w", [1.0])]), "initializer 'w'")
    refused(model([node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"], name="n")]), "node 'n' (Abs)", "'y'")
    refused(model([node("Relu", ["x"], ["x"], name="n")]), "node 'n' (Relu)", "'x'")
    refused(model([node("Split", ["x"], ["y", "y"], name="n")]), "node 'n' (Split)", "'y'")
    refused(conditional(branch("then", [node("Abs", ["x"], ["c"])], "c")), "(Abs)", "'c'")


def test_a_branch_does_not_define_a_name_of_the_graph_around_it():
    then = branch("then", [node("Abs", ["x"], ["t"])], "t")
    then.initializer.append(init("c", [1.0]))
    refused(conditional(then), "initializer 'c'", "another tensor")


def test_both_branches_may_use_a_name():
    load(conditional(branch("then", [node("Abs", ["x"], ["e"])], "e")))


def test_nodes_that_read_what_does_not_exist():
    refused(model([node("Relu", ["q"], ["y"], name="n")]), "node 'n' (Relu)", "'q'", "nothing produces")
    refused(conditional(branch("then", [node("Abs", ["q"], ["t"], name="n")], "t")), "node 'n' (Abs)", "'q'")
    refused(model([node("Relu", ["x"], ["a"])]), "output 'y'", "nothing produces")
    refused(conditional(branch("then", [node("Abs", ["x"], ["t"])], "q")), "output 'q'")


def test_what_a_branch_computes_is_not_seen_outside():
    proto = conditional(branch("then", [node("Abs", ["x"], ["t"])], "t"))
    proto.graph.node.append(node("Relu", ["t"], ["z"]))
    refused(proto, "(Relu)", "'t'", "nothing produces")


def test_a_branch_does_not_see_what_is_computed_after_it():
    proto = conditional(branch("then", [node("Abs", ["late"], ["t"], name="n")], "t"))
    proto.graph.node.append(node("Relu", ["x"], ["late"]))
    refused(proto, "node 'n' (Abs)", "'late'")


def test_unsorted_nodes_are_refused_as_by_the_checker_of_onnx():
    proto = model([node("Relu", ["a"], ["y"], name="late"), node("Abs", ["x"], ["a"], name="early")])
    refused(proto, "'late' (Relu)", "'a'", "'early' (Abs)", "not sorted")
    cycle = model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])])
    refused(cycle, "(Add)", "'b'", "cycle")


def test_names_that_are_missing():
    refused(model([node("Relu", ["x"], ["y"])], [info("x"), info("")]), "input", "no name")
    refused(relu(outputs=[info("y"), info("")]), "output", "no name")
    refused(relu(inits=[init("", [1.0])]), "initializer", "no name")
    proto = relu()
    proto.graph.node[0].op_type = ""
    refused(proto, "'r'", "no operator")


def test_the_long_name_of_the_default_domain():
    proto = relu()
    proto.opset_import[0].domain = "ai.onnx"
    proto.graph.node[0].domain = "ai.onnx"
    assert (load(proto).nodes[0].domain, load(proto).nodes[0].version) == ("", 17)


def test_text_that_is_not_utf8():
    content = relu(inits=[init("weight", [1.0])]).SerializeToString()
    for word in (b"Relu", b"weight"):
        refused(content.replace(word, b"\xff" + word[1:]), "not UTF-8")
    proto = relu()
    proto.doc_string = "note"
    load(proto.SerializeToString().replace(b"note", b"n\xffte"))


def test_graphs_that_are_nested_too_deeply():
    def nested(depth):
        inner = branch("last", [node("Relu", ["x"], ["t"])], "t")
        for k in range(depth - 1):
            other = branch(f"e{k}", [node("Neg", ["x"], [f"e{k}"])], f"e{k}")
            inner = branch(f"g{k}", [node("If", ["c"], [f"y{k}"], then_branch=inner, else_branch=other)], f"y{k}")
        return conditional(inner)

    assert load(nested(MAX_DEPTH)).outputs
    refused(nested(MAX_DEPTH + 1), "is nested in more than 24 others")
