"""Loader: ONNX file -> `Graph`, with every check that a model file must pass.

A model file is untrusted: for any content, `load` returns a graph or raises an error of one line.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx  # noqa: TID251 - the loader's own
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto  # noqa: TID251 - the loader's own

from qengine import memory
from qengine.errors import ModelError, UnsupportedError
from qengine.input_files import NotAFileError, read_input
from qengine.model.contrib import CONTRIB, expand_contrib
from qengine.model.graph import RECORD, Graph, Names, Value
from qengine.model.loader.graph_reader import GraphReader
from qengine.model.loader.inlining import inline
from qengine.model.loader.names import check_names, check_text, everywhere, standard
from qengine.model.loader.node_inference import infer_outputs
from qengine.model.loader.shapes import with_inferred
from qengine.model.loader.validation import check_nodes
from qengine.model.opset_conversion import at_opset
from qengine.model.protos import graph_proto
from qengine.near_files import missing_file, models_in, other_model

OLDEST_OPSET = 7
"""Oldest opset of ONNX's own domain that handlers serve; before it, Add and others broadcast in another way."""

_MAX_BYTES = 2**31 - 1  # of one protobuf message


def load(model: str | os.PathLike[str] | bytes | ModelProto) -> Graph:
    """Return the graph of an ONNX model.

    Local functions are inlined, Constant nodes become constants, and shapes are inferred as far as they are known
    without an input. Whether qengine can run the operators is not checked here.

    Parameters
    ----------
    model : path of a model file, the bytes of one, or a ModelProto, which is not changed. External data is read only
        for a path, and only from the folder of the file.

    Raises
    ------
    ModelError
        If the file is missing, damaged, not valid ONNX, contradicts itself, or refers to files outside of its folder.
    UnsupportedError
        If the model is too old, too new, or uses a feature of ONNX that is not supported.
    """
    if not isinstance(model, (str, os.PathLike, bytes, ModelProto)):
        raise ModelError(f"a model is a path, the bytes of a file, or an onnx.ModelProto, not {type(model).__name__}")
    where = "model" if isinstance(model, (bytes, ModelProto)) else os.fspath(model)
    try:
        with memory.limited(None, keep=True):
            return _load(model)
    except (ModelError, UnsupportedError) as error:
        hint = "" if isinstance(model, (bytes, ModelProto)) else other_model(model)
        raise type(error)(f"{where}: {hint or error}") from None
    except RecursionError:
        raise ModelError(f"{where}: its graphs or functions are nested too deeply; flatten them") from None
    except MemoryError:
        raise ModelError(f"{where}: it needs more memory than there is; use a smaller model") from None


def _load(model: str | os.PathLike[str] | bytes | ModelProto) -> Graph:
    folder, stem = None, "model"
    if not isinstance(model, (bytes, ModelProto)):
        path = Path(model)
        folder, stem = path.parent, path.stem
        model = _bytes(path)
    proto = model if isinstance(model, ModelProto) else _parse(model)
    if proto is model:  # the caller's own, and the steps below change it in place
        proto = ModelProto()
        proto.CopyFrom(model)
    del model  # the bytes of a file are as large as all weights
    check_text(proto)
    opsets, ir_version = _check_header(proto), proto.ir_version
    check_names(proto.graph)
    if proto.functions:
        inline(proto, opsets)
        del proto.functions[:]
        check_names(proto.graph)
    check_nodes(proto.graph, opsets)
    graph = GraphReader(opsets, folder, ir_version).graph(proto.graph, proto.graph.name or stem, fed=True)
    if opsets.get("", OLDEST_OPSET) < OLDEST_OPSET:
        graph, opsets[""] = _converted(graph), OLDEST_OPSET
        proto = ModelProto(graph=graph_proto(replace(graph, constants={})), metadata_props=proto.metadata_props)
        check_nodes(proto.graph, opsets)
    graph = replace(graph, metadata={one.key: one.value for one in proto.metadata_props if one.key == RECORD})
    return expand_contrib(with_inferred(graph, proto.graph, opsets), infer_outputs)


def _bytes(path: Path) -> bytes:
    try:
        return read_input(path)
    except FileNotFoundError:
        raise ModelError(f"no such file; give the path of an .onnx file{missing_file(path)}") from None
    except NotAFileError as error:
        raise ModelError(f"{error.strerror}; give the path of an .onnx file{models_in(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"cannot be read ({reason}); give the path of a readable .onnx file") from None


def _parse(data: bytes) -> ModelProto:
    if not data:
        raise ModelError("is empty; export or download the model again")
    if data.startswith(b"version https://git-lfs"):
        raise ModelError("is a pointer of Git LFS, not the model; run git lfs pull")
    try:
        proto = ModelProto()
        proto.ParseFromString(data)
    except DecodeError:
        hint = "export or download it again"
        if len(data) > _MAX_BYTES:
            hint = "above 2 GB save it with onnx.save_model(..., save_as_external_data=True)"
        raise ModelError(f"is not an ONNX model, or damaged or cut short ({len(data)} bytes); {hint}") from None
    return proto


def _check_header(proto: ModelProto) -> dict[str, int]:
    """Return the opset of each domain; raise for a message without the fields that every model has.

    Protobuf parses some files that are not ONNX without an error, as a message that lacks these fields.
    """
    if proto.ir_version < 1 or not proto.HasField("graph"):
        missing = "graph" if proto.ir_version >= 1 else "IR version"
        raise ModelError(f"is not an ONNX model, or damaged: it has no {missing}; export or download it again")
    if proto.ir_version > onnx.IR_VERSION:
        raise UnsupportedError(
            f"has IR version {proto.ir_version}, and the installed onnx reads up to {onnx.IR_VERSION}; upgrade onnx"
        )
    if not proto.opset_import:
        raise ModelError("has no opset import; export the model again")
    if not proto.graph.output:
        raise ModelError("its graph has no outputs; export the model again")
    bodies = (proto.graph.node, *(function.node for function in proto.functions))
    used = {"", *(standard(node.domain) for nodes in bodies for node in everywhere(nodes))}
    opsets: dict[str, int] = {}
    for one in proto.opset_import:
        if standard(one.domain) not in used:  # tools leave such imports in a model, with any version
            continue
        is_known = 1 <= one.version < 2**31
        if opsets.setdefault(standard(one.domain), one.version) != one.version or not is_known:
            raise ModelError(
                f"imports opset {one.version} of {one.domain!r}, which is invalid or imported twice; export it again"
            )
    opsets.setdefault(CONTRIB, 1)  # its only one; older quantizers of ONNX Runtime import none
    newest = onnx.defs.onnx_opset_version()
    if opsets.get("", newest) > newest:
        raise UnsupportedError(f"has opset {opsets['']}, and the installed onnx reads up to {newest}; upgrade onnx")
    return opsets


def _converted(graph: Graph) -> Graph:
    """Return a graph of an opset before `OLDEST_OPSET` in that opset, with the graphs inside of its nodes."""
    names = Names(graph.tensors() | graph.inner_tensors(), "_")

    def infer(part: Graph) -> Mapping[str, Value]:
        return with_inferred(part, graph_proto(replace(part, constants={})), {"": OLDEST_OPSET}).values

    def convert(one: Graph) -> Graph:
        nodes = []
        for node in one.nodes:
            inner = {name: convert(held) for name, held in node.graphs.items()}
            nodes.append(replace(node, attributes={**node.attributes, **inner}) if inner else node)
        return at_opset(replace(one, nodes=tuple(nodes)), OLDEST_OPSET, names.fresh, infer)

    return convert(graph)
