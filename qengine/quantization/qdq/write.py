"""Conversion of a session in fixed point to an onnx.ModelProto with QuantizeLinear and DequantizeLinear."""

import onnx  # noqa: TID251 - the result is an onnx.ModelProto
import onnx.checker  # noqa: TID251 - as above

from qengine.errors import OptionError, UnsupportedError, first_line
from qengine.model.protos import model_proto
from qengine.model.rules import Rules
from qengine.quantization.qdq.operators import version_of
from qengine.quantization.qdq.pairs import with_pairs
from qengine.quantization.qdq.shape_formats import with_shape_formats
from qengine.quantization.qdq.stored_constants import OPSET, WIDE_OPSET, OldOpsetError
from qengine.runtime.session import InferenceSession


def quantized_model(session: InferenceSession) -> onnx.ModelProto:
    """Return the model and the formats of a session as one ONNX model, with pairs around tensors.

    Scales are powers of two, zero points 0, weights int8 or int16 as their formats are, and biases int32. A session of
    the result has the same formats and gives the same bits. BatchNormalization is folded. A model of an opset below 13,
    or below 21 for 16 bits, is written in that one.

    Parameters
    ----------
    session
        Session in fixed point with activations of 8 or 16 bits that rounds half to even and saturates, as
        QuantizeLinear does.

    Raises
    ------
    OptionError
        If the session is in float32, or has another rounding or overflow, or an accumulator width.
    FormatError
        If an activation has another word length.
    UnsupportedError
        If an operator cannot be written.
    """
    if not session.in_fixed_point:
        raise OptionError("a session in float32 has no formats to write: give it a qformat or formats")
    if session.rules != Rules():
        raise OptionError("a quantized model rounds half to even, saturates, and has no accumulator to wrap or islands")
    session = with_shape_formats(session, None)
    graph = session.graph
    version = version_of(graph, OPSET)
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
