"""The files of a network in C, as text."""

from qengine.deploy.c.emit.project import Source, source_files

__all__ = ["Source", "source_files"]
