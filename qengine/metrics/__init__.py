"""Figures of how good a result is: one file for each metric, and the ratios that they share.

A metric is a class in a file of its own, decorated with `qengine.metrics.declaration.metric`. Importing the package
finds every file, so that `qengine run`, sweeps (columns, tables, plots) and searches know every metric.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
