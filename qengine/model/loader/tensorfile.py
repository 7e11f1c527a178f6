"""Reading of a file that holds one TensorProto, as in onnx's test data."""

import os
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto  # noqa: TID251 - the loader's own

from qengine.errors import FeedError, QEngineError
from qengine.input_files import read_input
from qengine.model.loader.tensors import tensor


def load_tensor(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return the tensor of a .pb file as a new array.

    Raises
    ------
    FeedError
        If the file cannot be read or is not a TensorProto whose data fits its shape.
    """
    proto = TensorProto()
    try:
        data = read_input(path)
        proto.ParseFromString(data)
    except OSError as error:
        raise FeedError(f"tensor file {path}: {error.strerror or error}") from None
    except DecodeError:
        raise FeedError(f"tensor file {path} is not a TensorProto") from None
    if not data:
        raise FeedError(f"tensor file {path} is empty")
    try:
        return tensor(proto, f"tensor file {path}", None).copy()
    except QEngineError as error:
        raise FeedError(str(error)) from None
