"""Lowerings, one module for each family of steps. Importing the package enters all of them into the table."""

from importlib import import_module
from pkgutil import iter_modules

from qengine.runtime.native.lowering_table import lowering_of, plain_lowering_of

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["lowering_of", "plain_lowering_of"]
