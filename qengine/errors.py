"""Every error that qengine raises on purpose, in one tree.

A message is one line: what was found and where, what is allowed, and what to do.
"""


class QEngineError(Exception):
    """The root: catching it catches every error that a bad model, input or option can cause."""


class FormatError(QEngineError):
    """A Qm.n format, a rounding or an overflow mode that does not exist or does not fit."""


class ModelError(QEngineError):
    """A model file that is damaged, unsafe or not valid ONNX."""


class UnsupportedError(QEngineError):
    """Valid ONNX that qengine does not run."""


class FeedError(QEngineError):
    """An input of a run: missing, unknown, or of the wrong type or shape."""


class OptionError(QEngineError):
    """An option of a session or a command that has no meaning, or not with the others."""
