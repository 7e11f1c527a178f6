"""Quantized ONNX models: the formats of a session as pairs of QuantizeLinear and DequantizeLinear."""

from qengine.quantization.qdq.pairs import with_pairs
from qengine.quantization.qdq.recipe import QuantizedModel, quantize_model
from qengine.quantization.qdq.write import quantized_model

__all__ = ["QuantizedModel", "quantize_model", "quantized_model", "with_pairs"]
