"""Usage errors of Typer in the words of this command line: what was typed, and what is meant."""

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from qengine.cli.app import application
from qengine.cli.commands import COMMANDS, GROUPS
from qengine.cli.help_text import first_sentence, limits_of
from qengine.errors import did_you_mean
from qengine.spelling import distance, nearest

COMMAND_WORDS = {
    **dict.fromkeys(("eval", "evaluate", "infer", "inference", "predict", "test", "exec", "start"), "run"),
    **dict.fromkeys(("info", "show", "summary", "stats", "view", "describe", "profile_layers", "print"), "inspect"),
    **dict.fromkeys(("benchmark", "profile", "perf", "time", "speed"), "bench"),
    **dict.fromkeys(("quantise", "convert", "compress", "ptq", "qdq", "quantization"), "quantize"),
    **dict.fromkeys(("calibration", "ranges", "observe"), "calibrate"),
    **dict.fromkeys(("diff", "verify", "check", "validate", "cmp"), "compare"),
    **dict.fromkeys(("devices", "backends", "hardware"), "targets"),
    **dict.fromkeys(("optimize", "optimise", "tune", "mixed", "autotune"), "search"),
    **dict.fromkeys(("grid", "scan", "explore"), "sweep"),
    **dict.fromkeys(("new", "setup", "config", "configure", "create"), "init"),
    **dict.fromkeys(("env", "version", "diagnose", "bug"), "doctor"),
    **dict.fromkeys(("html",), "report"),
}
"""Names of others for commands, and the command that each most probably means."""

_OPTION_WORDS = {
    **dict.fromkeys(("--output", "--output-file", "--save", "--dest"), "--out"),
    **dict.fromkeys(("--dataset", "--images", "--calibration-data", "--calib", "--folder", "--dir"), "--data"),
    **dict.fromkeys(("--samples", "--num-samples", "--n-samples", "--count", "--max-samples"), "--limit"),
    **dict.fromkeys(("--in", "--feed", "--x", "--image"), "--input"),
    **dict.fromkeys(("--format", "--fmt", "--q", "--quant", "--precision", "--dtype"), "--qformat"),
    **dict.fromkeys(("--device", "--hw", "--hardware", "--backend"), "--target"),
    **dict.fromkeys(("--round", "--rounding-mode", "--round-mode"), "--rounding"),
    **dict.fromkeys(("--saturate", "--wrap", "--overflow-mode"), "--overflow"),
    **dict.fromkeys(("--workers", "--processes", "--parallel"), "--jobs"),
    **dict.fromkeys(("--num-threads", "--cpus"), "--threads"),
    **dict.fromkeys(("--acc-bits", "--accumulator", "--acc"), "--accumulator-bits"),
    **dict.fromkeys(("--classes", "--label", "--targets-file"), "--labels"),
    **dict.fromkeys(("--layer", "--tensor", "--node", "--outputs"), "--fetch"),
    **dict.fromkeys(("--batch-size", "--bs"), "--batch"),
    **dict.fromkeys(("--channel-wise", "--channelwise", "--perchannel"), "--per-channel"),
    **dict.fromkeys(("--weight-bit", "--wbits", "--w-bits", "--nbits-weight"), "--weight-bits"),
    **dict.fromkeys(("--activation-bit", "--abits", "--a-bits", "--act-bits"), "--activation-bits"),
    **dict.fromkeys(("--nbits", "--bitwidth", "--width", "--word-length", "--num-bits"), "--bits"),
    **dict.fromkeys(("--max-loss", "--tolerance", "--max-error"), "--max-drop"),
    **dict.fromkeys(("--rgb2bgr", "--swap-channels"), "--bgr"),
    **dict.fromkeys(("--normalize", "--norm"), "--std"),
    **dict.fromkeys(("--timeout", "--duration", "--budget", "--time"), "--seconds"),
    **dict.fromkeys(("--runs", "--iterations", "--trials"), "--max-runs"),
}
"""Options of other tools, and the option here that each most probably means."""

_SHORT = {
    **{"-f": "--formats", "-d": "--data", "-t": "--threads", "-j": "--jobs", "-b": "--bits"},
    **{"-r": "--rounding", "-m": "--metric", "-n": "--limit", "-s": "--scale", "-l": "--labels", "-w": "--weight-bits"},
}
"""Options that a letter probably stands for."""

_IN_PLACE = {
    **{"--bits": "--qformat", "--qformat": "--bits", "--target": "--targets", "--targets": "--target"},
    **{"--weight-bits": "--weight-qformat", "--weight-qformat": "--weight-bits", "--labels": "--expected"},
    **{"--data": "--input", "--jobs": "--threads", "--recipe": "--method"},
}
"""Options, and the one that a command without them may have for the same purpose."""


def usage_message(error: Any, words: Sequence[str]) -> str:
    """Return a usage error of Typer as one line.

    Parameters
    ----------
    error
        The exception, whose class differs between versions of Typer.
    words
        The words of the command line.
    """
    said = str(error.format_message())
    context = getattr(error, "ctx", None)
    path = _path(context, words)
    command = context.command if context is not None else None
    name = getattr(error, "option_name", None)
    if match := re.match(r"No such command '(.*?)'\.", said, re.DOTALL):
        return _no_command(match[1], path)
    if said.startswith("No such option") and name is not None:
        return _no_option(str(name), command, path, words)
    if said.startswith("Got unexpected extra argument"):
        return _left_over(said, command, path, words)
    if said.startswith("Missing") and getattr(error, "param", None) is None:
        return "a command is missing: begin with one, such as qengine run digits (see 'qengine --help')"
    if said.startswith("Missing"):
        return _missing(error.param, path)
    if said.startswith("Invalid value") and getattr(error, "param", None) is not None:
        return _invalid(error.param, said, words)
    if match := re.match(r"Option '(.*?)' does not take a value\.", said):
        return f"{match[1]} takes no value: leave out what follows '='"
    return f"{said.rstrip('.')} (see '{path} --help')"


def commands_by_name() -> dict[str, Any]:
    """Return every command of Typer by its words, such as "export c"; all are imported for it."""
    import typer

    found: dict[str, Any] = {}
    for word in (*COMMANDS, *GROUPS):
        whole: Any = typer.main.get_command(application([word]))
        part = whole.commands[word]
        found |= {f"{word} {name}".strip(): one for name, one in getattr(part, "commands", {"": part}).items()}
    return found


def options_by_command() -> dict[str, set[str]]:
    """Return the names of the options of every command."""
    return {
        name: {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        for name, command in commands_by_name().items()
    }


def _path(context: Any, words: Sequence[str]) -> str:
    """Return the words up to the name of the command."""
    path = str(getattr(context, "command_path", "qengine"))
    if path == "qengine" and words and words[0] in (*COMMANDS, *GROUPS):
        return f"qengine {words[0]}"
    return path


def _no_command(name: str, path: str) -> str:
    if path != "qengine":
        known = GROUPS[path.split()[-1]][1]
        return f"{path} has no '{name}'{did_you_mean(name, known)}; there are {', '.join(known)}"
    if Path(name).suffix.lower() == ".onnx" or Path(name).exists():
        return f"'{name}' is not a command: begin with one, such as qengine run {shlex.quote(name)}"
    group, dash, rest = name.replace("_", "-").partition("-")
    if dash and group in GROUPS and rest:
        near = nearest(rest, GROUPS[group][1])
        return f"no command is named '{name}'; did you mean {group} {near or ''}?".replace(" ?", "?")
    every = (*COMMANDS, *GROUPS)
    near = did_you_mean(name, every, COMMAND_WORDS) or f"; there are {', '.join(every)}"
    return f"no command is named '{name}'{near}"


def _no_option(name: str, command: Any, path: str, words: Sequence[str]) -> str:
    own = [option for p in getattr(command, "params", ()) for option in (*p.opts, *p.secondary_opts)]
    if path == "qengine":
        return _before_the_command(name, own, words)
    short, see = path.removeprefix("qengine "), f"(see '{path} --help')"
    said = f"{short} has no option {name}"
    if not name.startswith("--"):
        run_together = (word.partition("=")[0] for word in words if word[:1] == "-" and word[1:2] != "-")
        whole = next((word for word in run_together if name[1:] in word[1:]), name)
        name = f"-{whole}" if len(whole) > 2 else _SHORT.get(name, name)
    meant = _OPTION_WORDS.get(name, name)
    if meant in own:
        return f"{said}; did you mean {meant}?"
    everywhere = options_by_command()
    known = sorted({one for options in everywhere.values() for one in options if one.startswith("--")})
    if meant not in known:
        near = nearest(meant, [one for one in own if one.startswith("--")])
        other = nearest(meant, known)
        if near is not None and (other is None or distance(meant, near) <= distance(meant, other)):
            return f"{said}; did you mean {near}?"
        if other is None:
            return f"{said} {see}"
        meant = other
    owners = [one for one, options in everywhere.items() if meant in options]
    instead = _IN_PLACE.get(meant)
    takes = f"{short} takes {instead}" if instead in own else f"{short} has none"
    belongs = f"{meant} belongs to {_listed(owners)}; {takes} {see}"
    return belongs if meant == name else f"{said}; {belongs}"


def _before_the_command(name: str, own: Sequence[str], words: Sequence[str]) -> str:
    """Return the message for an option where a command is expected."""
    command = next((word for word in words if word in COMMANDS or word in GROUPS), None)
    near = "--version" if name in ("-v", "-V") else nearest(name, [one for one in own if one.startswith("--")])
    if near is not None and command is None:
        return f"qengine has no option {name}; did you mean {near}?"
    return f"{name} stands before the command: options follow it, as in qengine {command or 'run'} MODEL {name} ..."


def _left_over(said: str, command: Any, path: str, words: Sequence[str]) -> str:
    match = re.search(r"\((?!s\))(.*)\)$", said, re.DOTALL)
    extra = match[1] if match else ""
    takes = " and ".join(_word(p) for p in command.params if p.param_type_name == "argument") or "no argument"
    takes = f"one {takes}" if takes == "MODEL" else takes
    short = path.removeprefix("qengine ")
    first = extra.split(" ")[0]
    if "=" in first:
        return f"'{first}' is left over: an input is given with -i, as -i {shlex.quote(first)}"
    if first.lower().endswith((".npz", ".npy", ".png", ".jpg")) and any("--data" in p.opts for p in command.params):
        return f"'{first}' is left over: samples are given with --data {shlex.quote(first)}"
    flags = {o for p in command.params if getattr(p, "is_flag", False) for o in (*p.opts, *p.secondary_opts)}
    if first in words and words[words.index(first) - 1] in flags:
        return f"{words[words.index(first) - 1]} takes no value: leave out '{first}'"
    many = "; a pattern such as *.onnx gives all files that match it" if "." in first else ""
    return f"{short} takes {takes}, and '{extra}' is left over{many} (see '{path} --help')"


def _missing(param: Any, path: str) -> str:
    short = path.removeprefix("qengine ")
    text = first_sentence(str(getattr(param, "help", "") or "")).split(": ")[0].split(", which")[0]
    text = text[:1].lower() + text[1:] if not text.startswith("ONNX") else text
    name = _word(param)
    if param.param_type_name == "option":
        name = f"{min(param.opts, key=len)} {name}"
    example = ""
    if name == "MODEL":
        project = "" if short == "init" else ", or a project file that names it (qengine init writes one)"
        example = f", as in {path} digits ...{project}"
    return f"{short} needs {name}, {text}{example} (see '{path} --help')"


def _invalid(param: Any, said: str, words: Sequence[str]) -> str:
    option = max(param.opts, key=len) if param.param_type_name == "option" else _word(param)
    least, most = limits_of(param)
    kind = "a number" if "number" in said or isinstance(least, float) or _is_float(param) else "a whole number"
    if least is not None and most is not None:
        kind += f", {least:,} to {most:,}"
    elif least is not None:
        kind += f", {least:,} or more"
    elif "integer" not in said and "number" not in said:
        return f"{option}: {said.partition(': ')[2] or said}"
    return f"{option} must be {kind}, not '{_value(param, words)}'"


def _is_float(param: Any) -> bool:
    return "float" in repr(getattr(param, "type_descriptor", getattr(param, "type", ""))).lower()


def _value(param: Any, words: Sequence[str]) -> str:
    """Return the last value that an option was given."""
    found = ""
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in param.opts:
            found = value if equals else next(iter(words[i + 1 : i + 2]), "")
    return found


def _word(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def _listed(names: Iterable[str]) -> str:
    each = list(names)
    return each[0] if len(each) == 1 else f"{', '.join(each[:-1])} and {each[-1]}"
