"""Cases of damaged models and feeds: each is loaded and run, and its outcome classified."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from oracle import OVERFLOWS, ROUNDINGS

import qengine

from .corpus import corpus
from .mutations import INTEGERS, REALS, Rng, mutate, pick

_MAX_ELEMENTS = 1 << 24
_NATIVE = 0.02
"""Share of cases that run on native kernels too: a new kernel takes longer to compile than a case to run."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a case.

    Attributes
    ----------
    kind : "result", or the name of the error; "foreign" for an exception that is not a QEngineError.
    detail : message of the error; traceback of a foreign exception.
    """

    kind: str
    detail: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the case ended with a result or one named error."""
        return self.kind not in ("foreign", "differs", "lines")


@dataclass(frozen=True)
class ModelCase:
    """A damaged model with feeds and options.

    Attributes
    ----------
    label : seed model and mutations.
    model : serialized model.
    feeds : feeds of the run.
    options : options of the session.
    is_compared : whether native kernels must give the same bits.
    """

    label: str
    model: bytes
    feeds: dict[str, Any]
    options: dict[str, Any]
    is_compared: bool


def model_case(seed: int, number: int) -> ModelCase:
    """Return a case; the same numbers always give the same case."""
    rng = np.random.default_rng([seed, number])
    base = pick(rng, corpus())
    proto = base.proto()
    applied = mutate(rng, proto)
    feeds = {name: _copy(value) for name, value in base.feeds.items()}
    if rng.random() < 0.3:
        applied.append(_damage_feeds(rng, feeds))
    return ModelCase(
        " + ".join([base.name, *applied]),
        proto.SerializeToString(),
        feeds,
        _options(rng),
        bool(rng.random() < _NATIVE),
    )


def _copy(value: Any) -> Any:
    return [_copy(one) for one in value] if isinstance(value, list) else np.array(value) if value is not None else None


def _damage_feeds(rng: Rng, feeds: dict[str, Any]) -> str:
    """Change one thing of the feeds in place, and return its name."""
    names = [name for name, value in feeds.items() if isinstance(value, np.ndarray)]
    if not names:
        feeds["bogus"] = np.zeros(1)
        return "unknown feed"
    name = pick(rng, names)
    array = feeds[name]
    choice = rng.integers(6)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if choice <= 1 and array.size and array.dtype.kind in "fiu":
            value = pick(rng, REALS if array.dtype.kind == "f" else INTEGERS)
            array.flat[int(rng.integers(array.size))] = np.array(value).astype(array.dtype)
            return f"feed of {value}"
        if choice == 2:
            feeds[name] = array.reshape(-1)[: int(rng.integers(0, array.size + 1))]
        elif choice == 3:
            feeds[name] = array[None] if rng.random() < 0.5 or not array.ndim else array[0:0]
        elif choice == 4 and array.dtype.kind in "fiub":
            feeds[name] = array.astype(pick(rng, (np.float64, np.float16, np.int64, np.int8, np.bool_, object)))
        else:
            del feeds[name]
    return "damaged feed"


def _options(rng: Rng) -> dict[str, Any]:
    options: dict[str, Any] = {"isa": "reference", "max_elements": _MAX_ELEMENTS}
    if rng.random() < 0.5:
        options["qformat"] = pick(rng, ("Q4.3", "Q7.8", "Q0.7", "UQ4.4", "Q-2.9", "Q8.-1", "Q1.0"))
        options["rounding"] = pick(rng, ROUNDINGS)
        options["overflow"] = pick(rng, OVERFLOWS)
        options["accumulator_bits"] = pick(rng, (None, None, 16, 24, 32))
        options["per_channel"] = bool(rng.random() < 0.3)
        options["strict"] = bool(rng.random() < 0.1)
    return options


def run_model_case(case: ModelCase) -> Outcome:
    """Return the outcome of loading and running a case; native kernels must give equal bits in fixed point."""
    import traceback

    try:
        outputs = _run(case, case.options)
        if case.is_compared:
            native = _run(case, {**case.options, "isa": None, "threads": 1})
            again = _run(case, case.options)
            for name, ours, theirs in zip(outputs, outputs.values(), native.values(), strict=True):
                is_random = not _same(ours, again[name])
                if "qformat" in case.options and not is_random and not _same(ours, theirs):
                    return Outcome("differs", f"output {name!r} of native kernels and of the reference")
    except qengine.QEngineError as error:
        text = str(error)
        return Outcome("lines" if "\n" in text or not text else type(error).__name__, text)
    except Exception:
        return Outcome("foreign", traceback.format_exc(limit=-6))
    return Outcome("result")


def _run(case: ModelCase, options: dict[str, Any]) -> dict[str, Any]:
    session = qengine.InferenceSession(case.model, **options)
    outputs = session.run(None, case.feeds)
    return {value.name: array for value, array in zip(session.get_outputs(), outputs, strict=True)}


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, np.ndarray):
        return isinstance(theirs, np.ndarray) and ours.dtype == theirs.dtype and _equal(ours, theirs)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return bool(ours == theirs)


def _equal(ours: Any, theirs: Any) -> bool:
    return ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()
