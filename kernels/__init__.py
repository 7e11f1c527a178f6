"""Kernels: functions of arrays and plain integers, with no notion of ONNX, formats or graphs.

`qengine.kernels.reference` is the definition of every kernel, in plain NumPy.
"""
