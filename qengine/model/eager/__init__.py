"""Evaluation of single nodes, by onnx.reference or by a registered function."""
