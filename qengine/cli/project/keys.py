"""The keys of a project file, and the option of each command that each of them stands for.

This table is all that reading, writing, documentation and messages know of the keys. A key stands for the option of its
own name in every command that has one; `options` names the others, and the commands that do not take the key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath

from qengine import targets
from qengine.cli.commands import COMMANDS, GROUPS, WITHOUT_PROJECT
from qengine.cli.project import values
from qengine.data.channels import LAYOUTS
from qengine.data.datasets.label_files import SUFFIXES as LABEL_SUFFIXES
from qengine.data.preprocessing import CONVERSIONS
from qengine.data.zoo import ENTRIES
from qengine.qformat import Overflow, Rounding
from qengine.targets.values import Value, choice, flag, text, whole

PREPROCESSING = "preprocessing"
"""Name of the table of preprocessing."""

NORMALIZATION = ("mean", "std", "scale")
"""Keys that say together how a pixel becomes a number: an option typed for one takes the place of all."""


class PathKind(Enum):
    """Kind of path that a value is."""

    NONE = "no path"
    READ = "a file or folder that commands read"
    MADE = "a file that one command writes and others read"
    FOLDER = "a folder that commands write to"


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes
    ----------
    name : name of the key, which is that of the option in most commands.
    value : values that are allowed.
    about : meaning in a few words.
    path_kind : kind of path that the text is; a relative one is relative to the project file.
    bundled : function that returns names which are not paths, but of something bundled.
    options : parameter of the commands where it has another name; None where a command does not take the key.
    is_path : function that says whether a value is a path, where the data may have another meaning for it.
    table : table that the key stands in; "" for the file itself.
    """

    name: str
    value: Value
    about: str
    path_kind: PathKind = PathKind.NONE
    bundled: Callable[[], Collection[str]] = tuple
    options: Mapping[str, str | None] = field(default_factory=dict)
    is_path: Callable[[str], bool] = lambda _: True
    table: str = ""

    def names_path(self, value: str) -> bool:
        """Return whether a value is the path of a file or folder, and no name of something else."""
        return self.path_kind is not PathKind.NONE and value not in self.bundled() and self.is_path(value)

    @property
    def path(self) -> tuple[str, ...]:
        """The keys from the top of the file to this one."""
        return (self.table, self.name) if self.table else (self.name,)

    def option(self, command: str) -> str | None:
        """Return the parameter of a command, which may not have it; None where the command does not take the key."""
        return self.options.get(command, self.name)


_SINGLE_INPUT: Mapping[str, str | None] = {"compare": None}
_NO_LISTS: Mapping[str, str | None] = {"sweep": None, "search": None}
_WHOLE_DATA: Mapping[str, str | None] = {"compare": None, "export vectors": None, "export c": None}

_TOP = (
    Key(
        "model",
        text("a file or a bundled model"),
        "an .onnx file, or a bundled model",
        PathKind.READ,
        lambda: ENTRIES,
        {"compare": "reference", "targets": "words"},
    ),
    Key(
        "data",
        text("a file, a folder or a bundled set"),
        "samples: see --data",
        PathKind.READ,
        lambda: ENTRIES,
        _SINGLE_INPUT,
    ),
    Key(
        "labels",
        text("a file, or a column of the data"),
        "the class of each sample: see --labels",
        PathKind.READ,
        options=_SINGLE_INPUT,
        is_path=lambda value: PurePath(value).suffix.lower() in LABEL_SUFFIXES,
    ),
    Key(
        "target",
        text("a target of `qengine targets`, or a TOML file"),
        "the device: a name that `qengine targets` lists, or a TOML file",
        PathKind.READ,
        targets.names,
        {"sweep": "targets"},
    ),
    Key(
        "formats",
        values.file_name(".json"),
        "formats, which calibrate and search write, and others read",
        PathKind.MADE,
        options={"calibrate": "out", "search": "out", "sweep": None},
    ),
    Key("output", text("a folder"), "folder for what commands write", PathKind.FOLDER),
    Key("bits", whole(2, 16), "word length of calibrate, quantize and report", options=_NO_LISTS),
    Key("rounding", choice(Rounding), "rounding, in place of the target's"),
    Key("overflow", choice(Overflow), "overflow, in place of the target's"),
    Key("accumulator_bits", whole(2, 64), "low bits that are kept of sums of products"),
    Key("metric", text("a metric"), "metric of search, sweep and report"),
    Key("limit", values.at_least_one(), "use the first N samples", options=_WHOLE_DATA),
    Key("batch", values.at_least_one(), "samples that are fed at once", options=_SINGLE_INPUT),
    Key("threads", whole(1, 1024), "number of threads"),
    Key("inputs", values.inputs(), "inputs that are the same in every run: see -i", options=_SINGLE_INPUT),
)

_OF_PICTURES = (
    Key("mean", values.numbers(), "mean of pictures in [0, 1], or of pixels 0..255"),
    Key("std", values.numbers(), "standard deviation, on the same scale"),
    Key("scale", values.numbers(), "factor of pixels 0..255, in place of std"),
    Key("resize", values.lengths(), "length of the shorter side, or [height, width]"),
    Key("crop", values.lengths(), "middle that is cut out after it"),
    Key("bgr", flag(), "whether the model's first channel is blue"),
    Key("layout", choice(LAYOUTS), "where channels are, if shapes do not tell"),
    Key("convert", values.names(CONVERSIONS), "changes to pictures that do not fit"),
)

KEYS: tuple[Key, ...] = (
    *_TOP,
    *(Key(key.name, key.value, key.about, table=PREPROCESSING) for key in _OF_PICTURES),
)
"""All keys, in the order in which `qengine init` writes them."""

TABLES = tuple(name for name in COMMANDS if name not in WITHOUT_PROJECT)
"""Commands that may have a table of options of their own; those of a group stand in the group's table."""

GROUPED_TABLES: Mapping[str, tuple[str, ...]] = {group: names for group, (_, names) in GROUPS.items()}
"""Groups of commands that may have tables, such as [export.c]."""

OUTPUTS: Mapping[str, str] = {
    "sweep": "sweep",
    "quantize": "{model}_quantized.onnx",
    "report": "report.html",
    "export vectors": "vectors",
    "export c": "c",
}
"""Name in the output folder that each command writes to, with the model's name for {model}."""

REFUSED = ("operators", "project", "no-project", "json", "help", "force")
"""Options that no table may hold: a file that is found in a folder runs no code, and does not change what it is."""
