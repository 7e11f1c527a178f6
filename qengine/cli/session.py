"""Sessions of the commands, and the check that their options have a meaning."""

from collections.abc import Callable
from pathlib import Path

from qengine.errors import OptionError
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession


def open_session(model: Path, options: SessionOptions) -> InferenceSession:
    """Return a session with these options; see `check_meaning`."""
    check_meaning(options, lambda: InferenceSession(model, options.in_float32()).in_fixed_point)
    return InferenceSession(model, options)


def check_meaning(options: SessionOptions, is_quantized: Callable[[], bool]) -> None:
    """Raise OptionError for an option of fixed point where the run is in float32.

    Parameters
    ----------
    options
        Options of the session.
    is_quantized
        Whether the model has formats of its own, which make every run one in fixed point. It is called only where
        that matters.
    """
    unread = options.unread_in_float32()
    if unread and not options.requests_fixed_point and not is_quantized():
        option = "--" + unread[0].replace("_", "-")
        raise OptionError(f"{option} has no meaning in float32: give a --qformat or --formats with it")
