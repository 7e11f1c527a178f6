"""One node computed by itself, by onnx.reference or by a registered function."""
