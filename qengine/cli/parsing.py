"""Values of options that are typed as text: numbers, lists, inputs, shapes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from qengine.data.datasets.values import input_value, is_pixels
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, OptionError, did_you_mean
from qengine.model.graph import Graph
from qengine.model.rules import Rules
from qengine.targets.origin import Origin
from qengine.targets.rules_mapping import rules_over
from qengine.targets.values import from_text


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Return the numbers of an option, such as 1/255, separated by commas.

    Raises
    ------
    OptionError
        If the text has another form.
    """
    try:
        return tuple(_ratio(part) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"{option} '{text}' is not a number such as 1/255, or several separated by commas") from None


def _ratio(text: str) -> float:
    if "_" in text:  # float() accepts 1_000
        raise ValueError
    above, slash, below = text.partition("/")
    return float(above) / float(below) if slash else float(above)


def widths(option: str, text: str, bound: int = 16) -> list[int]:
    """Return the numbers of bits of an option such as 4,6-8, each from 2 to a bound; a range includes both ends.

    Raises
    ------
    OptionError
        If the text has another form, a number is out of bounds, or a range runs backwards.
    """
    result: list[int] = []
    for part in words(option, text):
        least, dash, last = part.partition("-")
        if not all(one.isascii() and one.isdigit() and len(one) < 4 for one in ((least, last) if dash else (least,))):
            raise OptionError(f"{option} '{text}' is not a list of whole numbers and ranges, such as 4,6-8")
        if not 2 <= int(least) <= int(last or least) <= bound:
            if int(last or least) < int(least):
                raise OptionError(f"{option} {part} runs backwards: give {last}-{least}")
            raise OptionError(f"{option} {part}: numbers of bits are 2 to {bound}")
        result += range(int(least), int(last or least) + 1)
    return result


def some_widths(option: str, text: str | None) -> list[int] | None:
    """Return the whole numbers of an option, or None where it was left out; see `widths`."""
    return None if text is None else widths(option, text)


def rules(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return single rules by their keys from texts such as mean.rounding=trunc.

    Raises
    ------
    OptionError
        If a text has another form, or two have the same key.
    TargetError
        If there is no such rule, or its value is not allowed.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.rpartition("=")  # a key may be the name of a tensor, and no value has the sign
        if not equals or not key or not value:
            raise OptionError(f"{option} '{text}' has another form than KEY=VALUE, such as mean.rounding=trunc")
        if key in found:
            raise OptionError(f"{option} {key} is given twice")
        found[key] = from_text(value)
    rules_over(Rules(), found, Origin(option), complete=False)
    return found


def some_words(option: str, text: str | None) -> list[str] | None:
    """Return the words of an option, or None where it was left out; see `words`."""
    return None if text is None else words(option, text)


def words(option: str, text: str) -> list[str]:
    """Return the words of an option, separated by commas; a comma within brackets, as in ap_fixed<8,4>, separates none.

    Raises
    ------
    OptionError
        If a word is empty.
    """
    parts = [part.strip() for part in re.split(r",(?![^<(]*[>)])", text)]
    if not all(parts):
        raise OptionError(f"{option} '{text}' has an empty item: separate items by single commas")
    return parts


def some_numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Return the numbers of an option, or None where it was left out; see `numbers`."""
    return None if text is None else numbers(option, text)


def some_lengths(option: str, text: str | None) -> int | tuple[int, int] | None:
    """Return one length, or height and width as in 224,320, or None where an option was left out.

    Raises
    ------
    OptionError
        If the text has another form.
    """
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        raise OptionError(f"{option} '{text}' is not a length in pixels such as 224, or height and width as in 224,320")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def inputs(texts: Sequence[str], graph: Graph, scale: Preprocessing, max_elements: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of NAME=VALUE texts, by name.

    Raises
    ------
    QEngineError
        If a text has another form, names no input or one twice, or its value cannot be read.
    """
    declared = {value.name: value for value in (*graph.inputs, *graph.overridable)}
    arrays: dict[str, NDArray[Any]] = {}
    for text in texts:
        name = _name(text, declared)
        if name in arrays:
            raise OptionError(f"-i gives '{name}' twice")
        arrays[name] = input_value(text[len(name) + 1 :], declared[name], graph, scale, max_elements)
    return arrays


def image_inputs(texts: Sequence[str], graph: Graph) -> tuple[str, ...]:
    """Return the names of the inputs that NAME=VALUE texts make of pixels."""
    declared = {value.name: value for value in (*graph.inputs, *graph.overridable)}
    values = ((_name(text, declared), text) for text in texts)
    return tuple(n for n, text in values if is_pixels(text[len(n) + 1 :], declared[n], graph))


def shapes(texts: Sequence[str], graph: Graph) -> dict[str, tuple[int, ...]]:
    """Return the shapes of NAME=N,N,... texts, by the name of the input.

    Raises
    ------
    QEngineError
        If a text has another form, or names no input or one twice.
    """
    declared = {value.name: value for value in graph.inputs}
    result: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name = _name(text, declared, "--shape", "NAME=N,N,...")
        if name in result:
            raise OptionError(f"--shape gives '{name}' twice")
        lengths = text[len(name) + 1 :]
        if not all(part.isascii() and part.isdigit() for part in lengths.split(",") if lengths):
            raise OptionError(f"--shape '{text}' is not a list of lengths such as {name}=1,3,224,224")
        result[name] = tuple(int(part) for part in lengths.split(",") if lengths)
    return result


def _name(text: str, declared: Mapping[str, Any], option: str = "-i", syntax: str = "NAME=VALUE") -> str:
    """Return the name in NAME=VALUE, which may hold an equals sign itself."""
    matching = [name for name in declared if text.startswith(f"{name}=")]
    if matching:
        return max(matching, key=len)
    if "=" not in text:
        raise OptionError(f"{option} '{text}' is not {syntax}; the inputs are {_listed(declared)}")
    typed = text.partition("=")[0]
    near = did_you_mean(typed, declared)
    raise FeedError(f"the model has no input '{typed}'{near}; its inputs are {_listed(declared)}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
