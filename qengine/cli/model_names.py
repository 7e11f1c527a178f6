"""Names of a model's tensors, read from its file in the time of a key: the messages are walked, and nothing is loaded.

A protobuf message is a list of fields. Each begins with a number, whose low 3 bits are the kind of its value: 0 is a
number of 7 bits a byte, 1 and 5 are 8 and 4 bytes, 2 is a length and as many bytes. Field 7 of a model is its graph;
fields 1, 5, 11 and 12 of a graph are nodes, constants, inputs and outputs. Constants are stepped over.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

_GRAPH, _NODE, _CONSTANT, _INPUT = 7, 1, 5, 11
_NODE_OUTPUT, _VALUE_NAME, _TENSOR_NAME = 2, 1, 8
_BYTES = 2
_SIZES = {1: 8, 5: 4}

View = memoryview


def tensor_names(model: str) -> tuple[list[str], list[str]]:
    """Return the names of the inputs of a model, and of all its tensors in the order of its nodes.

    Parameters
    ----------
    model
        Path of a model file, or the name of a bundled model. A file that is none has no names.
    """
    path = Path(model)
    if not path.is_file():
        path = Path(__file__).parents[1] / "data" / "zoo" / f"{path.name}.onnx"
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _names(memoryview(content))  # closed with the last view of it
    except (OSError, ValueError, IndexError):
        return [], []


def _names(model: View) -> tuple[list[str], list[str]]:
    inputs, tensors, constants = [], [], set()
    for graph in _parts(model, _GRAPH):
        for number, part in _fields(graph):
            if number == _INPUT:
                inputs += _texts(part, _VALUE_NAME)
            elif number == _NODE:
                tensors += [name for name in _texts(part, _NODE_OUTPUT) if name]
            elif number == _CONSTANT:
                constants.update(_texts(part, _TENSOR_NAME))
    inputs = [name for name in inputs if name not in constants]
    return inputs, inputs + tensors


def _parts(message: View, number: int) -> Iterator[View]:
    return (part for found, part in _fields(message) if found == number)


def _texts(message: View, number: int) -> list[str]:
    return [bytes(part).decode("utf-8", "replace") for part in _parts(message, number)]


def _fields(message: View) -> Iterator[tuple[int, View]]:
    """Yield the number and the bytes of every field that has bytes; raise ValueError for another file."""
    place = 0
    while place < len(message):
        key, place = _number(message, place)
        kind = key & 7
        if kind == 0:
            _, place = _number(message, place)
        elif kind in _SIZES:
            place += _SIZES[kind]
        elif kind == _BYTES:
            length, place = _number(message, place)
            if place + length > len(message):
                raise ValueError("a field is longer than its message")
            yield key >> 3, message[place : place + length]
            place += length
        else:
            raise ValueError("not a message")


def _number(message: View, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
