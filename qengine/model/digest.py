"""The digest of a model: equal models have equal ones, wherever their files are."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from qengine.lru_cache import digest
from qengine.model.graph import Graph


def graph_digest(graph: Graph) -> str:
    """Return a digest of a model: of its nodes, attributes, types and constants, those in external files too.

    The name of the model, the path of its file, its metadata and how a run rounds are not part of it.
    """
    found = hashlib.sha256()

    def add(item: Any) -> None:
        # Every item says its kind and its length first: no two structures give the same bytes.
        if isinstance(item, np.ndarray):
            found.update(repr(("array", digest(item))).encode())
        elif isinstance(item, Mapping):
            found.update(f"mapping {len(item)} ".encode())
            for key in sorted(item):
                add(key)
                add(item[key])
        elif isinstance(item, tuple | list):
            found.update(f"sequence {len(item)} ".encode())
            for one in item:
                add(one)
        elif is_dataclass(item) and not isinstance(item, type):
            found.update(f"{type(item).__name__} ".encode())
            for field in fields(item):
                if not (isinstance(item, Graph) and field.name in ("name", "fuses", "metadata")):
                    add(getattr(item, field.name))
        else:
            text = repr(item).encode()
            found.update(f"{type(item).__name__} {len(text)} ".encode() + text)

    add(graph)
    return found.hexdigest()
