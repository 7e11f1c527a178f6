"""A function in Python has the options of its command as arguments, by the same words."""

import inspect
import sys
from dataclasses import fields, is_dataclass

import pytest
import typer.main

import qengine
from qengine.cli.app import application

RUN = (qengine.SessionOptions,)
FUNCTIONS = {
    "run": (qengine.evaluate,),
    "inspect": (qengine.inspect_model, qengine.blame),
    "calibrate": (qengine.calibrate,),
    "quantize": (qengine.quantize_model,),
    "sweep": (qengine.sweep, qengine.Grid),
    "search": (qengine.search, qengine.CalibrationOptions),
    "report": (qengine.report,),
    "bench": (qengine.bench,),
    "compare": (qengine.compare, *RUN),
    "export vectors": (qengine.export_vectors, qengine.VectorOptions, *RUN),
    "export c": (qengine.export_c, qengine.COptions, *RUN),
}
# What only a command line has, and the methods of results that stand for it.
OF_COMMANDS = {
    "json",
    "quiet",
    "project",
    "no_project",
    "operators",
    "out",
    "raw",
    "csv",
    "plot",
    "tensors",
    "fail_under",
}
PICTURES = {"mean", "std", "scale", "resize", "crop", "bgr", "layout", "convert"}  # Preprocessing.of
PLURALS = {"rule": "rules", "fetch": "outputs", "group": "groups", "method": "methods", "recipe": "recipes"}
OF_COMMAND = {"bench": {"data", "batch"}}  # feeds: one run
ELSEWHERE = {
    "inputs",  # open_dataset(fixed=), or the mapping that is fed
    "data_free",  # calibrate_without_data
    "expected",  # labels or targets of the data
    "learned",  # Comparison and qengine.deploy.compare.learn
    "only_own_errors",
    "html",
    "reference",  # model
    "model",  # of the session that is exported
    "suggested",  # Blame.better_formats
}


def arguments(function):
    if is_dataclass(function):
        return {field.name for field in fields(function)}
    names = set()
    for parameter in inspect.signature(function).parameters.values():
        names.add(parameter.name)
        text = str(parameter.annotation)
        if text.startswith("Unpack["):
            keywords = getattr(sys.modules[function.__module__], text[len("Unpack[") : -1])
            names |= set(keywords.__annotations__)
    return names


def options(command):
    words = command.split()
    found = typer.main.get_command(application(words))
    for word in words:
        found = found.commands[word] if hasattr(found, "commands") else found
    return {one.name: [text.lstrip("-").replace("-", "_") for text in one.opts] for one in found.params}


@pytest.mark.parametrize("command", FUNCTIONS)
def test_options_are_arguments(command):
    known = set().union(*map(arguments, FUNCTIONS[command]))
    known |= OF_COMMANDS | PICTURES | ELSEWHERE | OF_COMMAND.get(command, set()) | {"help"}
    missing = {
        name: words
        for name, words in options(command).items()
        if name not in known and not known & set(words) and PLURALS.get(name) not in known
    }
    assert missing == {}


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_pictures_are_read_by_the_same_words(name):
    assert name in inspect.signature(qengine.Preprocessing.of).parameters
