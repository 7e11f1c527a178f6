"""The operators of ONNX, one family a file, each a function that returns steps.

Importing the package imports every file in it, and so declares every operator; see `operator`.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
