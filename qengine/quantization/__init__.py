"""Quantization of float32 models: formats from data, corrected constants, and quantized ONNX models."""
