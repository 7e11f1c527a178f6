"""What was typed, as values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qengine.data.images import PixelScale
from qengine.data.read import read_value
from qengine.errors import FeedError, OptionError
from qengine.model.graph import Graph
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
    unread = options.without_meaning_in_float32()
    if unread and not options.asks_for_fixed_point and not is_quantized():
        option = "--" + unread[0].replace("_", "-")
        raise OptionError(f"{option} has no meaning in float32: give a --qformat or --formats with it")


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Return numbers such as 1/255, or several with commas.

    Raises
    ------
    OptionError
        If they are not.
    """
    try:
        return tuple(_ratio(part) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"{option} '{text}' is not a number such as 1/255, or several with commas") from None


def _ratio(text: str) -> float:
    if "_" in text:  # which Python's own numbers may hold
        raise ValueError
    above, slash, below = text.partition("/")
    return float(above) / float(below) if slash else float(above)


def widths(option: str, text: str) -> list[int]:
    """Return whole numbers such as 8, or 4,6-8; all of a range, both ends included.

    Raises
    ------
    OptionError
        If they are not, or a range runs backwards.
    """
    found: list[int] = []
    for part in words(option, text):
        least, dash, most = part.partition("-")
        if not all(one.isascii() and one.isdigit() and len(one) < 4 for one in ((least, most) if dash else (least,))):
            raise OptionError(f"{option} '{text}' is not a list of whole numbers and ranges, such as 4,6-8")
        several = range(int(least), int(most or least) + 1)
        if not several:
            raise OptionError(f"{option} {part} runs backwards: give {most}-{least}")
        found += several
    return found


def some_widths(option: str, text: str | None) -> list[int] | None:
    """Return the same of an option that may be left out, and None where it is."""
    return None if text is None else widths(option, text)


def words(option: str, text: str) -> list[str]:
    """Return words with commas between them.

    Raises
    ------
    OptionError
        If one is empty.
    """
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise OptionError(f"{option} '{text}' is not a list with commas")
    return found


def pixel_scale(base: PixelScale, scale: str | None, mean: str | None, bgr: bool) -> PixelScale:
    """Return the scale of a model's images: what `base` says, where nothing else was typed."""
    return PixelScale(
        base.scale if scale is None else numbers("--scale", scale),
        base.mean if mean is None else numbers("--mean", mean),
        bgr or base.bgr,
    )


def inputs(texts: Sequence[str], graph: Graph, scale: PixelScale, max_elements: int) -> dict[str, NDArray[Any]]:
    """Return the arrays that NAME=VALUE words give, by name.

    Raises
    ------
    QEngineError
        If a word is not of that form, names no input or one twice, or its value cannot be read.
    """
    declared = {value.name: value for value in (*graph.inputs, *graph.overridable)}
    found: dict[str, NDArray[Any]] = {}
    for text in texts:
        name = _name(text, declared)
        if name in found:
            raise OptionError(f"-i gives '{name}' twice")
        found[name] = read_value(text[len(name) + 1 :], declared[name], scale, max_elements)
    return found


def shapes(texts: Sequence[str], graph: Graph) -> dict[str, tuple[int, ...]]:
    """Return the shapes that NAME=N,N,... words give, by the name of the input.

    Raises
    ------
    QEngineError
        If a word is not of that form, or names no input or one twice.
    """
    declared = {value.name: value for value in graph.inputs}
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name = _name(text, declared, "--shape", "NAME=N,N,...")
        if name in found:
            raise OptionError(f"--shape gives '{name}' twice")
        lengths = text[len(name) + 1 :]
        if not all(part.isascii() and part.isdigit() for part in lengths.split(",") if lengths):
            raise OptionError(f"--shape '{text}' is not lengths of axes such as {name}=1,3,224,224")
        found[name] = tuple(int(part) for part in lengths.split(",") if lengths)
    return found


def _name(text: str, declared: Mapping[str, Any], option: str = "-i", form: str = "NAME=VALUE") -> str:
    """Return the name in NAME=VALUE; names of tensors may hold an equals sign themselves."""
    fitting = [name for name in declared if text.startswith(f"{name}=")]
    if fitting:
        return max(fitting, key=len)
    if "=" not in text:
        raise OptionError(f"{option} '{text}' is not {form}; the inputs are {_listed(declared)}")
    raise FeedError(f"the model has no input '{text.partition('=')[0]}'; its inputs are {_listed(declared)}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
