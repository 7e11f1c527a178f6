"""Names of the commands, from which the program, its help, its messages and the project file take them."""

GROUPS = {"export": ("Write what a device or its team needs.", ("vectors", "c"))}
"""Groups of commands: the help, and the names of the functions in the module of the group's name."""

COMMAND_GROUPS = (
    ("Start here", ("init", "run", "inspect")),
    ("Formats", ("calibrate", "quantize", "sweep", "search", "report")),
    ("Device", ("export", "compare", "targets")),
    ("Other", ("bench", "doctor")),
)
"""Titles of the list of commands, and the commands below each."""

COMMANDS = tuple(name for _, names in COMMAND_GROUPS for name in names if name not in GROUPS)
"""The commands in the order of the help; each is the function of its name in the module of its name."""

WITHOUT_PROJECT = ("init", "doctor")
"""Commands that take nothing from a project file."""
