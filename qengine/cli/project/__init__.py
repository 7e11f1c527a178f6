"""The project file: what the commands of a project have in common, written once in qengine.toml.

A project file names a model, its data and how it is read, and the files that one command writes and others read. Each
command takes from it what was not typed, as the defaults of its options. `keys` is the one table of what a file may
hold; `file` reads and checks a file; `defaults` decides what a command takes; `command` gives it to Typer, and `find`
looks for the file. `qengine init` writes one.

Only `command` and `find` are imported where there is no project file.
"""
