"""Conversion of a session in fixed point to an onnx.ModelProto that says its formats: in pairs, or as QONNX."""

from contextlib import suppress
from dataclasses import replace
from typing import Literal, get_args

import onnx  # noqa: TID251 - the result is an onnx.ModelProto
import onnx.checker  # noqa: TID251 - as above

from qengine.errors import OptionError, QEngineError, UnsupportedError, did_you_mean, first_line
from qengine.model.graph import Graph
from qengine.model.ops.qonnx import DOMAINS
from qengine.model.protos import model_proto
from qengine.model.rules import Arithmetic, Modes, Rules
from qengine.qformat import Overflow, Rounding
from qengine.quantization.made_up import made_up_feeds
from qengine.quantization.qdq.operators import version_of
from qengine.quantization.qdq.pairs import with_pairs
from qengine.quantization.qdq.shape_formats import with_shape_formats
from qengine.quantization.qdq.spelling import OPSET, WIDE_OPSET, OldOpsetError, Quants
from qengine.runtime.session import InferenceSession

Writes = Literal["qdq", "qonnx"]
"""Pairs of QuantizeLinear and DequantizeLinear, or Quant nodes of QONNX."""


def quantized_model(session: InferenceSession, writes: Writes = "qdq") -> onnx.ModelProto:
    """Return the model and the formats of a session as one ONNX model.

    With "qdq" it has pairs around tensors.

    Scales are powers of two, zero points 0, weights int8 or int16 as their formats are, and biases int32. A session of
    the result has the same formats and gives the same bits. BatchNormalization is folded. A model of an opset below 13,
    or below 21 for 16 bits, is written in that one.

    With "qonnx" it has a Quant after each tensor, with the word length, rounding and overflow of that tensor, and of
    each constant, the numbers of which stay float32.

    Parameters
    ----------
    session
        Session in fixed point. For pairs, with activations of 8 or 16 bits that rounds half to even and saturates, as
        QuantizeLinear does.
    writes
        The nodes that round.

    Raises
    ------
    OptionError
        If the session is in float32, or has rules that the nodes cannot say.
    FormatError
        If an activation has another word length.
    UnsupportedError
        If an operator cannot be written.
    """
    if not session.in_fixed_point:
        raise OptionError("a session in float32 has no formats to write: give it a qformat or formats")
    check_rules(session.rules, writes)
    session = with_shape_formats(session, None)
    graph = session.graph
    version = version_of(graph, OPSET)
    if writes == "qonnx":
        written = with_pairs(session.network, version := max(version, OPSET), _quants(session))
    else:
        _check_operators(graph)
        try:
            written = with_pairs(session.network, version := max(version, OPSET))
        except OldOpsetError:
            written = with_pairs(session.network, version := max(version, WIDE_OPSET))
    opsets = {"": version} | {node.domain: node.version for node in written.nodes if node.domain}
    model = model_proto(written, opsets)
    try:
        onnx.checker.check_model(_with_ranks(model))
    except onnx.checker.ValidationError as error:
        reason = first_line(error).rstrip(".")
        raise UnsupportedError(
            f"onnx.checker refuses the quantized model: {reason}; check the model with onnx.checker.check_model"
        ) from None
    return model


def check_rules(rules: Rules, writes: Writes) -> None:
    """Raise OptionError for other nodes than there are, or for rules that the nodes cannot say."""
    if writes not in get_args(Writes):
        near = did_you_mean(str(writes), get_args(Writes))
        raise OptionError(f"writes is {writes!r}{near}; there are {', '.join(get_args(Writes))} (--as, writes=)")
    if writes == "qdq" and rules != Rules():
        raise OptionError(
            "a quantized model rounds half to even, saturates, and has no accumulator to wrap or islands, and nothing "
            f"for {', '.join(rules.differences)}; one of QONNX (--as qonnx) has a rounding for each tensor"
        )
    said = replace(rules, rounding=Rounding.HALF_EVEN, overflow=Overflow.SATURATE, kinds={}, operators={}, tensors={})
    if said != Rules():
        raise OptionError(
            f"a QONNX model has a rounding for each tensor, and nothing for {', '.join(said.differences)}"
        )


def _check_operators(graph: Graph) -> None:
    foreign = next((node for node in graph.nodes if node.domain in DOMAINS), None)
    if foreign is not None:
        raise UnsupportedError(f"{foreign} is not an operator of ONNX: write the model as QONNX (--as qonnx)")


def _quants(session: InferenceSession) -> Quants:
    """Return the Quant nodes of a session, with the modes of each tensor."""
    rules = session.rules
    inputs = {value.name for value in session.graph.inputs}
    found: dict[str, Modes] = {}
    if rules.kinds or rules.operators:
        # A plan knows which kind of step computes a tensor.
        for feeds in made_up_feeds(session):
            with suppress(QEngineError):
                for plan in session.plans_of_run(session.check_feeds(feeds)):
                    found |= {one.output.name: _modes(one.arithmetic) for one in plan.steps if one.arithmetic}
                break

    def modes(name: str) -> Modes:
        return rules.modes("inputs", name) if name in inputs else found.get(name, rules.modes("convert", name))

    return Quants(modes, lambda name: rules.modes("constants", name))


def _modes(arithmetic: Arithmetic) -> Modes:
    return Modes(arithmetic.rounding, arithmetic.overflow)


def _with_ranks(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model in which each output has some shape: the checker wants one, and a model may not know it."""
    unknown = [one.name for one in model.graph.output if not one.type.tensor_type.HasField("shape")]
    if not unknown:
        return model
    checked = onnx.ModelProto()
    checked.CopyFrom(model)
    for one in checked.graph.output:
        if one.name in unknown and one.type.HasField("tensor_type"):
            one.type.tensor_type.shape.SetInParent()
    return checked
