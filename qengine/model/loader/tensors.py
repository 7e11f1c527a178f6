"""TensorProto -> NumPy array, from the model file itself or from a data file in its folder."""

import math
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import SparseTensorProto, TensorProto  # noqa: TID251 - the loader's own
from onnx.numpy_helper import to_array  # noqa: TID251 - the loader's own

from qengine import memory
from qengine.errors import ModelError, UnsupportedError
from qengine.input_files import NotAFileError, open_input
from qengine.model.loader.validation import MAX_AXES
from qengine.model.schemas import DTYPES

_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_FIELD_OF: Mapping[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.COMPLEX64: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.COMPLEX128: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}
"""The field of numbers that are not in raw_data; int32_data for all types that are not listed."""

_MAX_DENSE = 1 << 28  # elements of a sparse tensor with its zeros
_FIELD_DTYPE = {
    "float_data": np.float32,
    "double_data": np.float64,
    "int64_data": np.int64,
    "uint64_data": np.uint64,
    "int32_data": np.int32,
}


def dtype_name(code: int) -> str:
    """Return ONNX's name of an element type, such as "bfloat16"."""
    return TensorProto.DataType.Name(code).lower() if code in DTYPES else f"type {code}"


def is_native(code: int) -> bool:
    """Whether NumPy itself has the element type as numbers; it has no bfloat16, float8 or int4."""
    return code in DTYPES and DTYPES[code].isbuiltin == 1 and DTYPES[code].kind in "biufc"


def tensor(proto: TensorProto, what: str, folder: Path | None) -> NDArray[Any]:
    """Return a tensor as a read-only array.

    Parameters
    ----------
    proto : message of the tensor.
    what : text that names the tensor in errors, such as "initializer 'w'".
    folder : folder of the model file, the only one from which external data is read; None if there is none.

    Raises
    ------
    ModelError
        If type, shape and data do not fit each other, or the external data is missing or outside of `folder`.
    UnsupportedError
        If the tensor is stored in segments.
    """
    code = proto.data_type
    if code not in DTYPES:
        raise ModelError(f"{what} has the element type {code}, which ONNX does not know; export the model again")
    if proto.HasField("segment"):
        raise UnsupportedError(f"{what} is split into segments, which is not supported; export the model again")
    dtype, shape = DTYPES[code], tuple(proto.dims)
    if len(shape) > MAX_AXES:  # else their product may have millions of digits
        raise ModelError(f"{what} has {len(shape)} axes, more than {MAX_AXES}; export the model again")
    if any(length < 0 for length in shape):
        raise ModelError(f"{what} has the shape {shape} with a negative length; export the model again")
    flat = (_elements if is_native(code) else _onnx_elements)(proto, dtype, math.prod(shape), what, folder)
    try:
        array = flat.reshape(shape)
    except ValueError:  # lengths beyond NumPy's index type, with another length of 0
        raise ModelError(f"{what} has the shape {shape}, which is too large; export the model again") from None
    array.flags.writeable = False
    return array


def _elements(proto: TensorProto, dtype: np.dtype[Any], count: int, what: str, folder: Path | None) -> NDArray[Any]:
    """Return the elements of a type that NumPy has, from the one place that holds them; shape (count,)."""
    present = [field for field in _FIELDS if len(getattr(proto, field))]
    external = proto.data_location == TensorProto.EXTERNAL
    if len(present) + proto.HasField("raw_data") + external > 1:
        raise ModelError(f"{what} has its data in more than one place; export the model again")
    raw: bytes | NDArray[np.uint8]
    if external:
        raw = _external(proto, what, folder, count * dtype.itemsize)
    elif proto.HasField("raw_data"):
        raw = proto.raw_data
    else:
        return _typed(proto, present[0] if present else None, dtype, count, what)
    if len(raw) != count * dtype.itemsize:
        raise _mismatch(proto, what, f"{count * dtype.itemsize} bytes", len(raw))
    if count == 0:
        return np.zeros(0, dtype)
    if dtype.kind == "b":  # NumPy requires that each byte of a boolean array is 0 or 1
        return np.not_equal(np.frombuffer(raw, np.uint8), 0)
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False)


def _onnx_elements(
    proto: TensorProto, dtype: np.dtype[Any], count: int, what: str, folder: Path | None
) -> NDArray[Any]:
    """Return strings, or numbers of a type that NumPy does not have, as onnx reads them; shape (count,)."""
    if proto.data_type != TensorProto.STRING and proto.data_location == TensorProto.EXTERNAL:
        inner = TensorProto(data_type=proto.data_type, dims=[count])
        inner.raw_data = _external(proto, what, folder, _packed_bytes(dtype, count)).tobytes()
        proto = inner
    elif proto.data_location == TensorProto.EXTERNAL:
        raise ModelError(f"{what} holds strings in another file, which ONNX does not allow; export the model again")
    try:
        array = to_array(proto).ravel()
    except (ValueError, TypeError, OverflowError) as error:
        raise _mismatch(proto, what, f"{count} elements", f"others ({error})") from None
    if len(array) != count:
        raise _mismatch(proto, what, f"{count} elements", len(array))
    if proto.data_type == TensorProto.STRING:
        try:
            return np.array([s.decode() if isinstance(s, bytes) else s for s in array] + [None], object)[:-1]
        except UnicodeDecodeError:
            raise ModelError(f"{what} is not UTF-8 text; export the model again") from None
    return np.array(array)


def _packed_bytes(dtype: np.dtype[Any], count: int) -> int:
    """Return the number of bytes of `count` elements; elements of 4 or 2 bits share bytes."""
    bits = next((n for n in (4, 2) if dtype.name.startswith((f"int{n}", f"uint{n}", f"float{n}"))), 8 * dtype.itemsize)
    return -(-count * bits // 8)


def dense(proto: SparseTensorProto, what: str, folder: Path | None) -> NDArray[Any]:
    """Return a sparse tensor with its zeros as a read-only array; parameters and errors as in `tensor`."""
    values, indices = tensor(proto.values, what, folder), tensor(proto.indices, f"indices of {what}", folder)
    shape = tuple(proto.dims)
    if len(shape) > MAX_AXES or any(n < 0 for n in shape) or math.prod(shape) > _MAX_DENSE:
        raise UnsupportedError(f"{what} has the shape {shape}, too large to be stored with its zeros; use a dense one")
    if (
        values.ndim != 1
        or indices.dtype != np.int64
        or indices.shape not in ((len(values),), (len(values), len(shape)))
    ):
        raise ModelError(f"{what} has values and indices that do not fit each other; export the model again")
    memory.hold(math.prod(shape) * values.dtype.itemsize, what)
    array = np.zeros(shape, values.dtype)
    try:
        if indices.size and indices.min() < 0:
            raise IndexError
        where = np.unravel_index(indices, shape) if indices.ndim == 1 else tuple(indices.T)
        array[where] = values
    except (IndexError, ValueError):
        raise ModelError(f"{what} has indices outside of its shape {shape}; export the model again") from None
    array.flags.writeable = False
    return array


def _typed(proto: TensorProto, field: str | None, dtype: np.dtype[Any], count: int, what: str) -> NDArray[Any]:
    """Return the elements from the field for the tensor's type, such as float_data; shape (count,)."""
    expected_field = _FIELD_OF.get(proto.data_type, "int32_data")
    if field not in (None, expected_field):
        raise ModelError(
            f"{what} is of type {dtype_name(proto.data_type)}, whose data belongs in {expected_field} or raw_data, "
            f"but it is in {field}; export the model again"
        )
    stored = np.array(getattr(proto, expected_field), dtype=_FIELD_DTYPE[expected_field])
    parts = 2 if dtype.kind == "c" else 1
    if len(stored) != count * parts:
        raise _mismatch(proto, what, f"{count * parts} numbers", len(stored))
    if dtype.kind == "c":
        return stored.view(dtype)
    if proto.data_type == TensorProto.FLOAT16:  # the bit pattern, in an integer
        cast = stored.astype(np.uint16)
        same = np.array_equal(cast, stored)
        cast = cast.view(np.float16)
    else:
        cast = stored.astype(dtype)
        same = dtype.kind == "b" or expected_field not in ("int32_data", "uint64_data") or np.array_equal(cast, stored)
    if not same:
        raise ModelError(f"{what} has numbers beyond its type {dtype_name(proto.data_type)}; export the model again")
    return cast


def _mismatch(proto: TensorProto, what: str, expected: str, found: int | str) -> ModelError:
    return ModelError(
        f"{what} of type {dtype_name(proto.data_type)} and shape {tuple(proto.dims)} takes {expected}, "
        f"but {found} are there; the file is damaged, export or download it again"
    )


def _external(proto: TensorProto, what: str, folder: Path | None, nbytes: int) -> NDArray[np.uint8]:
    """Return the `nbytes` bytes of a tensor from its external data file."""
    if folder is None:
        raise ModelError(f"{what} has its data in another file; load the model by its path, not from memory")
    entries = {entry.key: entry.value for entry in proto.external_data}
    if len(entries) != len(proto.external_data):
        raise ModelError(f"{what} has two entries of the same name for its external data; export the model again")
    path = _inside(folder, entries.get("location", ""), what)
    offset = _byte_count(entries, "offset", 0, what)
    length = _byte_count(entries, "length", nbytes, what) or nbytes  # some tools write 0 for a whole file
    if length != nbytes:
        raise _mismatch(proto, what, f"{nbytes} bytes", length)
    try:
        with open_input(path) as file:
            status = os.fstat(file.fileno())
            if offset + nbytes > status.st_size:
                raise ModelError(
                    f"{what} of shape {tuple(proto.dims)} takes {nbytes} bytes from offset {offset} of "
                    f"{str(path)!r}, which has {status.st_size}; the file is cut short or another model's, "
                    "download it again"
                )
            file.seek(offset)
            return np.fromfile(file, np.uint8, nbytes)
    except NotAFileError as error:
        raise ModelError(f"{what}: its external data {str(path)!r} {error.strerror}; restore the file") from None
    except OSError as error:
        raise ModelError(
            f"{what}: its external data {str(path)!r} cannot be read ({error.strerror}); "
            "put the file into the folder of the model file"
        ) from None


def _inside(folder: Path, location: str, what: str) -> Path:
    """Return the path of `location`, which must lie in `folder`: a model must not read other files of its user."""
    windows = PureWindowsPath(location)  # splits at both kinds of slash
    outside = bool(windows.anchor) or PurePosixPath(location).is_absolute() or ".." in windows.parts
    if not location or "\0" in location:
        raise ModelError(f"{what} has external data but names no file for it; export the model again")
    root = Path(os.path.realpath(folder))
    path = Path(os.path.realpath(root / location))
    if outside or not path.is_relative_to(root):
        raise ModelError(
            f"{what} has its external data at {location!r}, outside of the model's folder, which is not "
            "allowed; copy the file into the folder and set the location to its name"
        )
    return path


def _byte_count(entries: Mapping[str, str], key: str, default: int, what: str) -> int:
    """Return the number of bytes that an entry of `external_data` gives, `default` if it is missing."""
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(
            f"{what} has external data with the {key} {text!r}, not a count of bytes; export the model again"
        )
    return int(text)
