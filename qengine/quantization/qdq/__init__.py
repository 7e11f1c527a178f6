"""A model and its formats as a quantized ONNX model, with QuantizeLinear and DequantizeLinear."""

from qengine.quantization.qdq.pairs import with_pairs
from qengine.quantization.qdq.recipe import Quantized, opset_for, quantize_model
from qengine.quantization.qdq.write import quantized_model

__all__ = ["Quantized", "opset_for", "quantize_model", "quantized_model", "with_pairs"]
