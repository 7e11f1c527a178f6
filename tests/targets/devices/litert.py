"""Runs a network in LiteRT, by the kernels of TFLite on phones or by its reference kernels.

The network becomes a flatbuffer whose scales are powers of two. Tensors are NHWC there.
"""

from __future__ import annotations

import numpy as np

PATHS = {"reference": "BUILTIN_REF", "ruy": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "xnnpack": "BUILTIN"}
"""Names of the sets of kernels, and of the resolver that takes each."""


def to_channels_last(codes):
    """Return codes of NCHW, OIHW or two axes with the channels last."""
    return np.ascontiguousarray(np.moveaxis(codes, 1, -1)) if codes.ndim == 4 else codes


class _Writer:
    """A model under construction."""

    def __init__(self, schema):
        self.schema = schema
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]
        self.names: dict[str, int] = {}

    def tensor(self, name, shape, kind, scale, data=None, zero=0, axis=None):
        """Add a tensor."""
        s, t = self.schema, self.schema.TensorT()
        t.shape, t.name, t.type = [int(n) for n in shape], name, getattr(s.TensorType, kind)
        t.buffer = 0
        if data is not None:
            buffer = s.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            t.quantization = s.QuantizationParametersT()
            t.quantization.scale = scales
            t.quantization.zeroPoint = np.full(len(scales), zero, np.int64)
            t.quantization.quantizedDimension = axis or 0
        self.graph.tensors.append(t)
        self.names[name] = len(self.graph.tensors) - 1
        return self.names[name]

    def operator(self, name, inputs, outputs, options_name=None, version=1, **options):
        """Add an operator."""
        s = self.schema
        code = s.OperatorCodeT()
        code.builtinCode = getattr(s.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        self.model.operatorCodes.append(code)
        o = s.OperatorT()
        o.opcodeIndex = len(self.model.operatorCodes) - 1
        o.inputs, o.outputs = inputs, outputs
        if options_name:
            o.builtinOptionsType = getattr(s.BuiltinOptions, options_name)
            o.builtinOptions = getattr(s, options_name + "T")()
            for key, value in options.items():
                assert hasattr(o.builtinOptions, key), key
                setattr(o.builtinOptions, key, value)
        self.graph.operators.append(o)

    def bytes(self):
        """Return the file."""
        import flatbuffers

        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def run(network, feeds, constants, path):
    """Return the codes of every tensor of a network, NCHW.

    Parameters
    ----------
    network : whose formats are all of 8 or all of 16 bits, with weights of 8.
    feeds : codes by input.
    constants : codes of weights and biases by name.
    path : a key of `PATHS`.
    """
    from ai_edge_litert import interpreter, schema_py_generated

    wide = any(network.formats[name].bits == 16 for name in network.inputs)
    word, bias_word = ("INT16", "INT64") if wide else ("INT8", "INT32")
    w = _Writer(schema_py_generated)
    shapes = {name: (1, *shape) for name, shape in network.inputs.items()}
    shapes |= network_shapes(network, shapes)

    def add(name):
        fmt = network.formats[name]
        shape = shapes[name]
        shape = (shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else shape
        scale, zero = 2.0**-fmt.fraction, 0 if fmt.signed else -(1 << (fmt.bits - 1))
        return w.tensor(name, shape, word, scale, zero=zero)

    for name in network.inputs:
        add(name)
    for node in network.nodes:
        inputs, output = [w.names[n] for n in node.inputs], add(node.output)
        _emit(w, network, node, inputs, output, constants, shapes, bias_word)
    w.graph.inputs = [w.names[n] for n in network.inputs]
    w.graph.outputs = [w.names[n.output] for n in network.nodes]
    session = interpreter.Interpreter(
        model_content=w.bytes(),
        experimental_op_resolver_type=getattr(interpreter.OpResolverType, PATHS[path]),
        num_threads=1,
    )
    session.allocate_tensors()
    dtype = np.int16 if wide else np.int8
    details = {d["name"]: d["index"] for d in session.get_input_details()}
    for name, codes in feeds.items():
        offset = 0 if network.formats[name].signed else 1 << (network.formats[name].bits - 1)
        session.set_tensor(details[name], (to_channels_last(codes) - offset).astype(dtype))
    session.invoke()
    found = {}
    for node, detail in zip(network.nodes, session.get_output_details(), strict=True):
        codes = session.get_tensor(detail["index"]).astype(np.int64)
        fmt = network.formats[node.output]
        codes = codes if fmt.signed else codes + (1 << (fmt.bits - 1))
        found[node.output] = np.moveaxis(codes, -1, 1) if codes.ndim == 4 else codes
    return found


def network_shapes(network, shapes):
    """Return the shape of every node's output."""
    import onnx

    model = onnx.shape_inference.infer_shapes(network.as_onnx())
    return {o.name: tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in model.graph.output}


def _emit(w, network, node, inputs, output, constants, shapes, bias_word):
    same = node.pads != (0, 0, 0, 0)
    window = {"padding": 0 if same else 1, "strideW": node.stride[1], "strideH": node.stride[0]}
    if node.kind in ("conv", "dense"):
        name = f"{node.output}_w"
        codes, scale = constants[name], _scale(network.formats[name])
        x_scale = 2.0 ** -network.formats[node.inputs[0]].fraction
        depthwise = node.group > 1
        axis = 3 if depthwise else 0
        if depthwise:
            codes = np.transpose(codes, (1, 2, 3, 0))
        elif codes.ndim == 4:
            codes = np.transpose(codes, (0, 2, 3, 1))
        count = constants[name].shape[0]
        scale = scale if node.kind == "dense" or scale.ndim else np.full(count, scale)
        extra = [w.tensor(name, codes.shape, "INT8", scale, codes.astype(np.int8), axis=axis)]
        bias = constants.get(f"{node.output}_b", np.zeros(count))  # some kernels want one
        dtype = np.int64 if bias_word == "INT64" else np.int32
        extra.append(w.tensor(f"{node.output}_b", (count,), bias_word, scale * x_scale, bias.astype(dtype)))
        if node.kind == "dense":
            w.operator("FULLY_CONNECTED", [*inputs, *extra], [output], "FullyConnectedOptions", 4)
        elif depthwise:
            more = {"depthMultiplier": count // shapes[node.inputs[0]][1]}
            w.operator("DEPTHWISE_CONV_2D", [*inputs, *extra], [output], "DepthwiseConv2DOptions", 3, **window, **more)
        else:
            w.operator("CONV_2D", [*inputs, *extra], [output], "Conv2DOptions", 3, **window)
    elif node.kind == "transposed":
        name = f"{node.output}_w"
        codes = np.transpose(constants[name], (1, 2, 3, 0)).astype(np.int8)
        filters = w.tensor(name, codes.shape, "INT8", np.full(len(codes), _scale(network.formats[name])), codes)
        (_, count, *size), options = shapes[node.output], "TransposeConvOptions"
        wanted = w.tensor(f"{node.output}_shape", (4,), "INT32", None, np.array([1, *size, count], np.int32))
        w.operator("TRANSPOSE_CONV", [wanted, filters, *inputs], [output], options, 3, **{**window, "padding": 1})
    elif node.kind == "flatten":  # of one pixel, whose channels are in the same order here as there
        shape = w.tensor(f"{node.output}_shape", (2,), "INT32", None, np.array(shapes[node.output], np.int32))
        w.operator("RESHAPE", [*inputs, shape], [output], "ReshapeOptions")
    elif node.kind == "matmul":
        w.operator("BATCH_MATMUL", inputs, [output], "BatchMatMulOptions", 2, adjX=False, adjY=False)
    elif node.kind in ("average", "maximum", "global"):
        name = "MAX_POOL_2D" if node.kind == "maximum" else "AVERAGE_POOL_2D"
        kernel = shapes[node.inputs[0]][2:] if node.kind == "global" else node.kernel
        size = {"filterHeight": kernel[0], "filterWidth": kernel[1]}
        w.operator(name, inputs, [output], "Pool2DOptions", 2, **window, **size)
    elif node.kind == "add":
        w.operator("ADD", inputs, [output], "AddOptions", 2, potScaleInt16=False)
    elif node.kind == "sub":
        w.operator("SUB", inputs, [output], "SubOptions", 2, potScaleInt16=False)
    elif node.kind == "mul":
        w.operator("MUL", inputs, [output], "MulOptions", 2)
    elif node.kind == "concat":
        w.operator("CONCATENATION", inputs, [output], "ConcatenationOptions", 2, axis=3)
    else:
        names = {"relu": "RELU", "sigmoid": "LOGISTIC", "tanh": "TANH"}
        w.operator(names[node.kind], inputs, [output], version=2)


def _scale(fmt):
    """Return the scale of weights, or one for each channel."""
    return np.array([2.0**-one.fraction for one in fmt] if isinstance(fmt, list) else 2.0**-fmt.fraction)
