"""Runs of notebooks without Jupyter: code cells in order, in one namespace, as a reader would run them.

A cell shows what it prints and, unless it is None, the value of an expression at its end.
"""

import ast
import contextlib
import io
import json


def read(path):
    """Return a notebook."""
    return json.loads(path.read_text(encoding="utf-8"))


def run(notebook):
    """Run all cells in the current folder; return what each code cell shows, by its number."""
    names = {"__name__": "__main__"}
    shown = {}
    for i, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            shown[i] = _run("".join(cell["source"]), names, f"cell {i}")
    return shown


def _run(source, names, where):
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, where, "exec"), names)
        value = None if last is None else eval(compile(ast.Expression(last.value), where, "eval"), names)
        if value is not None:
            print(repr(value))
    return printed.getvalue()


def committed(cell):
    """Return what a cell of a file shows."""
    return "".join("".join(output.get("text", [])) for output in cell["outputs"])


def with_outputs(notebook, shown):
    """Return a notebook with what its cells show, and nothing of the run that made it."""
    cells = []
    for i, cell in enumerate(notebook["cells"]):
        made = {"cell_type": cell["cell_type"], "id": f"cell-{i}", "metadata": {}, "source": cell["source"]}
        if cell["cell_type"] == "code":
            text = shown[i].splitlines(keepends=True)
            made["execution_count"] = None
            made["outputs"] = [{"name": "stdout", "output_type": "stream", "text": text}] if text else []
        cells.append(made)
    return {**notebook, "cells": cells}


def write(path, notebook):
    """Write a notebook as Jupyter does."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
