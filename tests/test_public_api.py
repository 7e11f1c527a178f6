"""The names that others rely on. A change here is a change for users, and stands in the changelog."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import qengine

NAMES = {
    "Calibration",
    "CalibrationOptions",
    "FixedPoint",
    "Grid",
    "InferenceSession",
    "Overflow",
    "PixelScale",
    "QEngineError",
    "QFormat",
    "RegisteredOperator",
    "Rounding",
    "SessionOptions",
    "__version__",
    "backend",
    "bench",
    "blame",
    "calibrate",
    "correct",
    "dequantize",
    "inspect_model",
    "open_dataset",
    "quantize",
    "quantize_model",
    "register_operator",
    "search",
    "sweep",
    "zoo",
}


def parameters(function):
    """Return the parameters as text: "a, b=1, *, c=2"."""
    signature = inspect.signature(function)
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def test_the_public_names():
    assert set(qengine.__all__) == NAMES
    assert dir(qengine) == qengine.__all__
    assert all(hasattr(qengine, name) for name in qengine.__all__)
    assert list(qengine.__all__) == sorted(qengine.__all__)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (qengine.InferenceSession, "(model, options=None, **keywords)"),
        (
            qengine.SessionOptions,
            "(qformat=None, weight_qformat=None, formats=None, rounding='half_even', "
            "overflow='saturate', accumulator_bits=None, per_channel=False, strict=False, isa=None, "
            "threads=None, max_elements=1073741824)",
        ),
        (qengine.InferenceSession.run, "(self, output_names, feeds, *, raw=False)"),
        (qengine.InferenceSession.get_inputs, "(self)"),
        (qengine.InferenceSession.get_outputs, "(self)"),
        (qengine.InferenceSession.get_overridable_initializers, "(self)"),
        (qengine.calibrate, "(model, feeds, options=None, session=None, **keywords)"),
        (
            qengine.CalibrationOptions,
            "(*, bits=8, weight_bits=None, activation_bits=None, method=<Method.MSE: 'mse'>, percentile=99.99, "
            "headroom=1.0, per_channel=False, unsigned=False, tie_joins=False)",
        ),
        (qengine.quantize, "(x, qformat, rounding='half_even', overflow='saturate')"),
        (qengine.dequantize, "(codes, qformat)"),
        (qengine.QFormat, "(integer_bits, fraction_bits, signed=True)"),
        (qengine.QFormat.parse, "(text)"),
        (
            qengine.register_operator,
            "(name, *, domain, since=1, fixed_point=None, deterministic=True, replace=False)",
        ),
        (qengine.RegisteredOperator.fixed_point, "(self, rule)"),
        (qengine.FixedPoint, "(codes, format)"),
    ],
)
def test_signatures(function, expected):
    assert parameters(function) == expected


def test_a_session_tells_its_formats():
    assert isinstance(inspect.getattr_static(qengine.InferenceSession, "formats").__doc__, str)


def test_a_format_as_the_documentation_says():
    form = qengine.QFormat.parse("Q4.3")
    assert (str(form), form.bits, form.step, form.min, form.max) == ("Q4.3", 8, 0.125, -16.0, 15.875)
    codes = qengine.quantize([0.3, -16.2, 99.0], "Q4.3", rounding="half_even", overflow="saturate")
    np.testing.assert_array_equal(codes, np.int8([2, -128, 127]), strict=True)
    np.testing.assert_array_equal(qengine.dequantize(codes, "Q4.3"), np.float32([0.25, -16, 15.875]), strict=True)


def test_every_error_has_one_root():
    from qengine import errors

    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and kind.__module__ == errors.__name__]
    assert len(kinds) > 4
    assert all(issubclass(kind, qengine.QEngineError) for kind in kinds)
    assert not issubclass(qengine.QEngineError, ValueError)


def test_modes_are_their_names():
    assert [str(mode) for mode in qengine.Rounding] == ["half_even", "half_up", "half_away", "floor", "trunc"]
    assert [str(mode) for mode in qengine.Overflow] == ["saturate", "wrap"]


def test_importing_is_light():
    code = "import sys, qengine; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    for heavy in (
        "torch",
        "onnx.reference",
        "onnx.backend",
        "qengine.backend",
        "onnxruntime",
        "numba",
        "scipy",
        "matplotlib",
        "PIL",
        "typer",
        "rich",
    ):
        assert heavy not in found
    assert not {name for name in found if name.startswith("qengine.cli")}


def test_the_backend_is_an_attribute():
    code = "import qengine; b = qengine.backend; print(b.__name__, b.supports_device('CPU'), callable(b.prepare))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.split() == ["qengine.backend", "True", "True"]
    assert callable(qengine.backend.run_model)
    with pytest.raises(AttributeError, match="module 'qengine' has no attribute 'backends'"):
        _ = qengine.backends
