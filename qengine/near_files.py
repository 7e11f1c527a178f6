"""Hints about a path of a file that does not exist, or of a model of another tool."""

import os
import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from qengine.spelling import nearest

_MAX_ENTRIES = 10_000  # of a folder that is looked through

_FROM_TORCH = "torch.onnx.export(model, (example,), 'model.onnx')"
_FROM_TF = "python -m tf2onnx.convert {option} {{path}} --output model.onnx (pip install tf2onnx)"
_EXPORTS = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".pt2", ".torchscript"), _FROM_TORCH),
    ".safetensors": f"{_FROM_TORCH} after the weights are loaded into the model",
    **dict.fromkeys((".h5", ".hdf5", ".keras"), _FROM_TF.format(option="--keras")),
    ".tflite": _FROM_TF.format(option="--tflite"),
    ".pb": _FROM_TF.format(option="--inputs IN:0 --outputs OUT:0 --graphdef"),
    ".mlmodel": "onnxmltools.convert_coreml",
    **dict.fromkeys((".pkl", ".joblib"), "skl2onnx.to_onnx(estimator, example)"),
    ".pdmodel": "paddle2onnx --model_filename {path} --save_file model.onnx",
}
"""Ends of the names of models of other tools, and what writes ONNX from them."""


def missing_file(path: str | os.PathLike[str], names: Iterable[str] = ()) -> str:
    """Return what may be wrong with the path of a file that does not exist, to follow the statement that it does not.

    Parameters
    ----------
    path
        The path as typed.
    names
        Names that may be given in place of a path, such as those of bundled models.

    Returns
    -------
    str
        Text that begins with ";" or ":", or "".
    """
    text = os.fspath(path)
    plain = text.strip().strip("'\"‘’“”")
    if plain != text and plain and (plain in set(names) or _exists(plain)):
        return f": its quotes or blanks are part of the name; give {shlex.quote(plain)}"
    if text.startswith("~") and _exists(expanded := str(Path(text).expanduser())):
        return f": the shell did not expand ~; give {shlex.quote(expanded)}"
    if "\\" in text and _exists(slashes := text.replace("\\", "/")):
        return f"; did you mean {shlex.quote(slashes)}?"
    if any(mark in text for mark in "*?["):
        return ": no file matches the pattern"
    near = nearest(plain, names) if os.sep not in plain else None
    near = near or _near_path(Path(plain.replace("\\", "/") if "\\" in plain else plain))
    return f"; did you mean {shlex.quote(near)}?" if near else ""


def other_model(path: str | os.PathLike[str]) -> str:
    """Return how a model of another tool becomes ONNX; "" for a path that does not end as one of those."""
    how = _EXPORTS.get(Path(path).suffix.lower())
    if how is None:
        return ""
    return f"qengine reads ONNX; write it with {how.format(path=shlex.quote(os.fspath(path)))}"


def models_in(folder: Path) -> str:
    """Return the models in a folder as text, to follow the statement that it is a folder; "" without any."""
    found = sorted(name for name in _entries(folder) if name.lower().endswith(".onnx"))
    if not found:
        return ""
    paths = [shlex.quote(str(folder / name)) for name in found[:3]]
    return f"; it has {', '.join(paths)}{' and others' if len(found) > 3 else ''}"


def _near_path(path: Path) -> str | None:
    """Return an existing path with one mistyped part."""
    parts = path.parts
    for i in range(len(parts)):
        parent = Path(*parts[:i]) if i else Path()
        if _exists(str(parent / parts[i])):
            continue
        entries = _entries(parent)
        same = [name for name in entries if name.startswith(f"{parts[i]}.")]
        name = same[0] if len(same) == 1 else nearest(parts[i], entries)
        if name is None:
            return None
        found = parent.joinpath(name, *parts[i + 1 :])
        return str(found) if _exists(str(found)) else None
    return None


def _entries(folder: Path) -> list[str]:
    with suppress(OSError, ValueError), os.scandir(folder) as entries:
        return sorted(entry.name for entry, _ in zip(entries, range(_MAX_ENTRIES), strict=False))
    return []


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)  # noqa: PTH110 - pathlib raises for names that are too long
    except ValueError:
        return False
