"""The names that others rely on. A change here is a change for users, and stands in the changelog."""

import ast
import inspect
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from oracle import OVERFLOWS, ROUNDINGS

import qengine

NAMES = {
    "Blame",
    "COptions",
    "CProject",
    "Calibration",
    "CalibrationOptions",
    "Comparison",
    "CorrectedModel",
    "Dataset",
    "Evaluation",
    "FixedPoint",
    "Grid",
    "InferenceSession",
    "Inspection",
    "Overflow",
    "Pack",
    "Preprocessing",
    "QEngineError",
    "QFormat",
    "QuantizedModel",
    "RegisteredOperator",
    "ReportOptions",
    "Result",
    "Rounding",
    "SearchOptions",
    "SearchResult",
    "SessionOptions",
    "Sweep",
    "SweepOptions",
    "Target",
    "VectorOptions",
    "__version__",
    "backend",
    "bench",
    "blame",
    "calibrate",
    "calibrate_without_data",
    "compare",
    "correct",
    "dequantize",
    "evaluate",
    "export_c",
    "export_vectors",
    "inspect_model",
    "open_dataset",
    "quantize",
    "quantize_model",
    "register_operator",
    "report",
    "search",
    "sweep",
    "zoo",
}


def parameters(function):
    """Return the parameters as text: "a, b=1, *, c=2"."""
    signature = inspect.signature(function)
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


IMPORT_EACH_ALONE = """
import os, sys
import numpy, numba, onnx, PIL.Image  # so that a child imports nothing but qengine
import qengine
assert not [name for name in sys.modules if name.startswith("qengine.")]
# One name for each module, as the others come with it.
alone = {qengine._MODULE_OF.get(name, name): name for name in dir(qengine)}
for name in alone.values():
    child = os.fork()
    if not child:
        status = 1
        try:
            assert getattr(qengine, name) is getattr(qengine, name)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        print(name)
"""


def test_the_public_names():
    assert set(qengine.__all__) == NAMES
    assert dir(qengine) == qengine.__all__
    assert list(qengine.__all__) == sorted(qengine.__all__)


def test_type_checkers_see_the_names_that_are_loaded_lazily():
    (block,) = [node for node in ast.parse(inspect.getsource(qengine)).body if isinstance(node, ast.If)]
    seen = {alias.asname: f"{node.module}.{alias.name}" for node in block.body for alias in getattr(node, "names", ())}
    lazy = {name: f"qengine.{module}.{name}" for name, module in qengine._MODULE_OF.items()}
    assert seen == lazy | qengine._MODULES


def test_a_star_import_gives_the_public_names():
    code = "before = set(dir()) | {'before'}; from qengine import *; print(*(set(dir()) - before))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert set(found.split()) == NAMES


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to import each name without the others")
def test_each_module_of_public_names_is_importable_alone():
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORT_EACH_ALONE], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, ""), found.stderr


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (qengine.InferenceSession, "(model, options=None, **keywords)"),
        (
            qengine.SessionOptions,
            "(qformat=None, weight_qformat=None, formats=None, rounding=None, "
            "overflow=None, accumulator_bits=None, per_channel=False, islands=None, strict=False, isa=None, "
            "threads=None, max_elements=1073741824, max_memory=None, "
            "max_iterations=10000, target=None, rules=None)",
        ),
        (qengine.InferenceSession.run, "(self, output_names, feeds, *, raw=False)"),
        (qengine.InferenceSession.get_inputs, "(self)"),
        (qengine.InferenceSession.get_outputs, "(self)"),
        (qengine.InferenceSession.get_overridable_initializers, "(self)"),
        (
            qengine.report,
            "(model, data=None, output='report.html', options=None, *, session=None, progress=None, **keywords)",
        ),
        (qengine.calibrate, "(model, data, options=None, session=None, **keywords)"),
        (
            qengine.CalibrationOptions,
            "(*, bits=None, weight_bits=None, activation_bits=None, method=<Method.MSE: 'mse'>, percentile=99.99, "
            "headroom=1.0, per_channel=True, unsigned=True, tie_joins=False, output_bits='auto', "
            "target=None, overflow=None)",
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
    assert [str(mode) for mode in qengine.Rounding] == [*ROUNDINGS]
    assert [str(mode) for mode in qengine.Overflow] == [*OVERFLOWS]


def test_importing_is_light():
    code = "import sys, qengine; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    for heavy in (
        "torch",
        "numpy",
        "onnx",
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
    assert not {name for name in found if name.startswith("qengine.")}


def test_the_backend_is_an_attribute():
    code = "import qengine; b = qengine.backend; print(b.__name__, b.supports_device('CPU'), callable(b.prepare))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.split() == ["qengine.backend", "True", "True"]
    assert callable(qengine.backend.run_model)
    with pytest.raises(AttributeError, match="module 'qengine' has no attribute 'backends'"):
        _ = qengine.backends


FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(qengine, name))]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_are_documented_whole(name):
    function = getattr(qengine, name)
    text = inspect.getdoc(function)
    sections = re.findall(r"^(\w+)\n-+$", text, re.MULTILINE)
    assert sections == [one for one in ("Parameters", "Returns", "Raises", "Examples") if one in sections]
    assert {"Parameters", "Returns", "Raises", "Examples"} - set(sections) == set(LACKS.get(name, ()))
    assert ">>> " in text
    described = text[text.index("Parameters\n---") : text.index(sections[1] + "\n---")]
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^(\w+, )*\*{{0,2}}{parameter}(, \*{{0,2}}\w+)*$", described, re.MULTILINE), parameter


LACKS = {"register_operator": ("Returns",), "quantize": (), "dequantize": ()}
