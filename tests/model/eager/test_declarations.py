"""Declarations of evaluators: their inputs, attributes and defaults are those of ONNX's schemas."""

import onnx
import pytest
from model.ops.cases import NEWEST, OLDEST, schema
from onnx.defs import OpSchema

from qengine.model.eager.evaluator import versions

DEFINED = sorted(key for key in versions() if onnx.defs.has(key[1], key[0]))


def served(domain, operator):
    """Yield each schema that a model can mean, with the evaluator that serves it."""
    seen = set()
    for version in range(OLDEST if not domain else 1, NEWEST + 1):
        defined = schema(operator, version, domain)
        own = [one for one in versions()[domain, operator] if one.since <= version]
        if defined is not None and own and defined.since_version not in seen:
            seen.add(defined.since_version)
            yield defined, own[-1]


def default_of(attribute):
    if not attribute.default_value.name:
        return None
    value = onnx.helper.get_attribute_value(attribute.default_value)
    if isinstance(value, list):
        return tuple(one.decode() if isinstance(one, bytes) else one for one in value)
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(("domain", "operator"), DEFINED, ids=["-".join(filter(None, key)) for key in DEFINED])
def test_declarations_are_those_of_the_schemas(domain, operator):
    for defined, own in served(domain, operator):
        what = f"{operator} at opset {defined.since_version}"
        for name, attribute in defined.attributes.items():
            if attribute.type == OpSchema.AttrType.GRAPH:
                continue
            assert name in own.signature.attributes, what
            declared = own.signature.attributes[name]
            assert declared.required == attribute.required, f"{what}: {name}"
            default = default_of(attribute)
            if default is not None and not (isinstance(default, tuple) and declared.default is None):
                assert declared.default == default, f"{what}: {name}"
        assert own.signature.variadic or len(own.signature.inputs) >= defined.max_input, what
