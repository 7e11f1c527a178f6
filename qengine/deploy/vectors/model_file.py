"""The model of a pack, so that a comparison can compute single operators again with nothing but the pack.

`model.onnx` is the model as it was loaded, and `session.json` has the formats that the session was given and the rules
of its run. Formats that it chose are left out: a session chooses them again, also for tensors that its passes removed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qengine.deploy.vectors.schema import fault_of
from qengine.errors import FeedError, QEngineError
from qengine.input_files import read_input
from qengine.model.formats.files import parse_format
from qengine.model.protos import model_proto
from qengine.runtime.session import InferenceSession
from qengine.targets.rules_mapping import rules_mapping

MODEL, OPTIONS = "model.onnx", "session.json"

_RECORD: dict[str, Any] = {
    "type": "object",
    "required": ["qformat", "weight_qformat", "formats", "per_channel", "rules"],
    "additionalProperties": False,
    "properties": {
        "qformat": {"type": ["string", "null"]},
        "weight_qformat": {"type": ["string", "null"]},
        "formats": {"type": ["object", "null"]},  # never a path, which a session would read
        "per_channel": {"type": "boolean"},
        "rules": {"type": "object"},
    },
}


def write_model(session: InferenceSession, folder: Path) -> tuple[str, ...]:
    """Write the model and the options of a session into a pack; return a note where that is not possible."""
    graph = session.network.source
    opsets: dict[str, int] = {}
    for node in graph.nodes:
        opsets[node.domain] = max(node.version, opsets.get(node.domain, 1))
    try:
        content = model_proto(graph, opsets).SerializeToString()
    except Exception as error:  # protobuf and onnx have no common error, and a pack is complete without a model
        return (f"the pack has no {MODEL}, which a comparison then needs: {type(error).__name__}",)
    (folder / MODEL).write_bytes(content)
    record = {**_formats_given(session), "rules": rules_mapping(session.rules)}
    (folder / OPTIONS).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
    return ()


def _formats_given(session: InferenceSession) -> dict[str, Any]:
    """Return the options of a session that decide formats, as keyword arguments that JSON can hold."""
    request = session.options.request()
    given = {name: parse_format(name, fmt) for name, fmt in request.formats.items()}
    formats = {name: [str(one) for one in fmt] if isinstance(fmt, tuple) else str(fmt) for name, fmt in given.items()}
    return {
        "qformat": request.qformat and str(request.qformat),
        "weight_qformat": request.weight_qformat and str(request.weight_qformat),
        "formats": formats or None,
        "per_channel": request.per_channel,
    }


def read_session(folder: Path) -> InferenceSession:
    """Return a session of the model in a pack, with the formats and the rules of the pack.

    Raises
    ------
    FeedError
        If the pack has no model, or it cannot be read.
    """
    try:
        text = read_input(folder / OPTIONS).decode("utf-8")
        content = read_input(folder / MODEL)
    except OSError:
        raise FeedError(f"{folder} has no {MODEL}: give the model of the pack with --model MODEL") from None
    except ValueError as error:
        raise FeedError(f"{folder}: {OPTIONS} is not text: {error}") from None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FeedError(f"{folder}: {OPTIONS} cannot be read as JSON: {error}") from None
    if fault := fault_of(record, _RECORD, OPTIONS):
        raise FeedError(f"{folder}: {fault}")
    try:
        return InferenceSession(content, **{**record, "rules": record["rules"] or None})
    except QEngineError as error:
        raise FeedError(f"{folder}: {MODEL} cannot be read, give the model with --model MODEL: {error}") from None
