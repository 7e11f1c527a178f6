"""Evaluators, one family a file.

Importing the package imports every file in it, and so declares every evaluator; see `qengine.model.eager.evaluator`.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
