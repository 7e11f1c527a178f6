"""Reference of the files that qengine writes: their JSON schemas as tables, and the schemas themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generators.markdown import ROOT, Pages, code, escaped, page, table

SCHEMAS = {
    "manifest": (
        "Manifest of a golden pack",
        "qengine/deploy/vectors/manifest.schema.json",
        "`manifest.json` of a pack that [`qengine export vectors`](../how-to/vectors.md) writes.",
    ),
    "net": (
        "Manifest of a network in C",
        "qengine/deploy/c/net.schema.json",
        "`net.json` beside the files that [`qengine export c`](../how-to/c.md) writes.",
    ),
}


def pages() -> Pages:
    """Return a page for each schema, and the schema."""
    made: dict[str, str] = {}
    for name, (title, path, text) in SCHEMAS.items():
        given = Path(ROOT, path).read_text(encoding="utf-8")
        schema = json.loads(given)
        rows = [(code(key), kind, "yes" if needed else "") for key, kind, needed in _rows(schema, schema, "")]
        file = Path(path).name
        made[f"reference/{file}"] = given
        made[f"reference/{name}-schema.md"] = page(
            title,
            f"{text} [The schema]({file}) is JSON Schema 2020-12. `[]` is an element of a list, `*` any key.",
            table(("key", "value", "always"), rows),
        )
    return made


def _rows(schema: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[tuple[str, str, bool]]:
    """Yield (key, value, whether it is always there) of every key, with its place in the object."""
    schema = _resolved(schema, root)
    for one in schema.get("anyOf", [schema]):
        one = _resolved(one, root)
        for name, inner in one.get("properties", {}).items():
            here = f"{path}.{name}" if path else name
            yield here, _value(inner, root), name in one.get("required", ())
            yield from _rows(inner, root, here)
        if "items" in one:
            yield from _rows(one["items"], root, f"{path}[]")
        if isinstance(one.get("additionalProperties"), dict):
            yield from _rows(one["additionalProperties"], root, f"{path}.*")


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    return dict(root["$defs"][schema["$ref"].rpartition("/")[2]])


def _value(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """Return the kind of a value in words."""
    schema = _resolved(schema, root)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_value(one, root) for one in schema["anyOf"]))
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    if "enum" in schema:
        return ", ".join(code(json.dumps(one)) for one in schema["enum"])
    kinds = schema.get("type", "anything")
    text = kinds if isinstance(kinds, str) else " or ".join(kinds)
    if text == "array":
        text = f"list of {_value(schema.get('items', {}), root)}"
    if isinstance(schema.get("additionalProperties"), dict):
        text = f"object of {_value(schema['additionalProperties'], root)}"
    if "pattern" in schema:
        text += f", {code(schema['pattern'])}"
    if "minimum" in schema:
        text += f", {schema['minimum']} or more"
    return text if "`" in text else escaped(text)
