"""Results as JSON text."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qengine.qformat import QFormat


def as_object(record: Mapping[str, Any]) -> str:
    """Return a JSON object in lines of ASCII; infinity becomes "inf", NaN null, a path and a format its text."""
    return json.dumps(_plain(record), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, QFormat | Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value > 0 else None
    return value
