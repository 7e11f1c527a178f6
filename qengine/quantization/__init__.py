"""From float32 to fixed point: formats from data, corrected constants, and quantized ONNX models."""
