"""A model and its formats as a quantized ONNX model, with QuantizeLinear and DequantizeLinear."""

from qengine.quantized.pairs import with_pairs
from qengine.quantized.recipe import Quantized, opset_for, quantize_model
from qengine.quantized.write import quantized_model

__all__ = ["Quantized", "opset_for", "quantize_model", "quantized_model", "with_pairs"]
