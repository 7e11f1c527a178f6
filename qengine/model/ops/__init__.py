"""ONNX operators spelled in the kinds of step, one family a file. Importing the package finds them all."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
