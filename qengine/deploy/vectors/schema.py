"""A check of JSON against a schema, for the few words of JSON Schema that the schema of the manifest uses.

The words are type, properties, required, additionalProperties, items, enum, const, minimum, pattern, anyOf and $ref to
$defs. A general validator checks the same file.
"""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@cache
def manifest_schema() -> dict[str, Any]:
    """Return the schema of the manifest."""
    text = files("qengine.deploy.vectors").joinpath("manifest.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def fault_of(value: Any, schema: dict[str, Any], where: str = "manifest") -> str | None:
    """Return what the first part of some JSON is that does not follow a schema; None if all does."""
    return _fault(value, schema, schema, where)


def _fault(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> str | None:
    if "$ref" in schema:
        return _fault(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, where)
    if "anyOf" in schema:
        found = [_fault(value, one, root, where) for one in schema["anyOf"]]
        return None if None in found else found[0]
    if "const" in schema and value != schema["const"]:
        return f"{where} is {value!r}, expected {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is {value!r}, expected one of {schema['enum']}"
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(isinstance(value, _TYPES[k]) and (k in ("boolean",) or not isinstance(value, bool)) for k in kinds):
        return f"{where} is {type(value).__name__}, expected {' or '.join(kinds)}"
    if isinstance(value, int | float) and value < schema.get("minimum", value):
        return f"{where} is {value}, expected {schema['minimum']} or more"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return f"{where} is {value!r}, which does not match {schema['pattern']}"
    return _fault_inside(value, schema, root, where)


def _fault_inside(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> str | None:
    if isinstance(value, list) and "items" in schema:
        for i, one in enumerate(value):
            if fault := _fault(one, schema["items"], root, f"{where}[{i}]"):
                return fault
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                return f"{where} has no '{name}'"
        own, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name, one in value.items():
            rule = own.get(name, others)
            if rule is False:
                return f"{where} has an unknown '{name}'"
            if isinstance(rule, dict) and (fault := _fault(one, rule, root, f"{where}.{name}")):
                return fault
    return None
