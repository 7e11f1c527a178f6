"""Range of a classifier's logits by cross-entropy: the correction "logits".

The format of a tensor is chosen for the least squared error of its values. Of logits, which a Softmax turns into the
probabilities of classes at the end of a model, only a few matter: errors of the greatest ones change probabilities, and
errors of those far below them do not, as large as they may be. So the number n of fraction bits is chosen for the least

    - sum over all runs and classes of p(v) log p(q(v)),

v being logits in float32, q(v) their codes' values, and p the Softmax (Nagel et al., "A White Paper on Neural Network
Quantization", arXiv 2106.08295, 2021, section 3.1). A few numbers above and below the chosen one are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError
from qengine.kernels.reference.functions import exp, log
from qengine.kernels.reference.requantize import quantize
from qengine.model.formats.files import FormatsByName
from qengine.model.formats.groups import format_groups
from qengine.model.graph import Graph
from qengine.qformat import FRACTION_BITS, QFormat
from qengine.quantization.calibration import Feeds
from qengine.quantization.correction.layers import check_real
from qengine.quantization.correction.registry import RecipeState, correction
from qengine.quantization.correction.result import CorrectedModel, CorrectionEntry, as_feeds
from qengine.quantization.correction.weights import fixed_session
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

_NAME = "logits"
_AROUND = 3  # fraction bits more and less that are compared
_ROWS_BEFORE = 13  # opset before which a Softmax is one over all axes from `axis` on
Reals = NDArray[np.float64]


def fit_logits(
    graph: Graph, formats: FormatsByName, data: Feeds, *, session: SessionOptions | None = None
) -> CorrectedModel:
    """Choose the formats of the tensors from which a Softmax computes an output of the model by cross-entropy.

    Parameters
    ----------
    graph
        The model.
    formats
        Formats of all tensors that a run computes, as a session takes them.
    data
        Feeds of runs in float32, read once.
    session
        Options of the runs, of which the limits and `threads` have an effect.

    Returns
    -------
    CorrectedModel
        The model, unchanged, and the formats.

    Raises
    ------
    QEngineError
        If the model is quantized already, a format is missing, or there are no feeds.
    """
    check_real(graph)
    found = _logits(graph)
    if not found:
        return CorrectedModel(graph, (), dict(formats))
    fixed = fixed_session(graph, formats, session)
    words = {name: fmt for name in found if isinstance(fmt := fixed.formats.get(name), QFormat)}
    costs = {name: dict.fromkeys(_candidates(fmt), 0.0) for name, fmt in words.items()}
    exact, empty = InferenceSession(graph, (session or SessionOptions()).in_float32()), True
    for feeds in as_feeds(data):
        empty = False
        for name, values in zip(words, exact.run(list(words), feeds) if words else (), strict=True):
            for n in costs[name]:
                costs[name][n] += _cross_entropy(values, words[name].with_fraction_bits(n), found[name])
    if empty:
        raise OptionError("the data holds no feeds: corrections from data need at least one")
    chosen, entries = dict(formats), []
    for name, each in costs.items():
        fmt, best = words[name], min(each, key=lambda n: (each[n], abs(n - words[name].fraction_bits)))
        text = f"'{name}' has cross-entropy {each[best]:.4g} in {fmt.with_fraction_bits(best)}"
        if best == fmt.fraction_bits:
            entries.append(CorrectionEntry(_NAME, f"tensor '{name}'", False, f"{text}, as before"))
            continue
        chosen |= dict.fromkeys(_group(fixed, name), str(fmt.with_fraction_bits(best)))
        entries.append(
            CorrectionEntry(_NAME, f"tensor '{name}'", True, f"{text}, {each[fmt.fraction_bits]:.4g} in {fmt}")
        )
    return CorrectedModel(graph, tuple(entries), chosen)


@correction(_NAME, order=60, needs_formats=True, needs_data=True, in_best=True)
def _fit(state: RecipeState) -> RecipeState:
    assert state.data is not None
    return state.after(fit_logits(state.graph, state.formats, state.data, session=state.session))


def _logits(graph: Graph) -> dict[str, tuple[int, bool]]:
    """Return the axis of each Softmax that gives an output, by what it alone reads, and whether later axes count."""
    once, outputs = graph.tensors_read_once(), {value.name for value in graph.outputs}
    found = {}
    for node in graph.nodes:
        if node.operator in ("Softmax", "LogSoftmax") and not node.domain and node.outputs[0] in outputs:
            is_old = node.version < _ROWS_BEFORE
            if node.inputs[0] in once:
                found[node.inputs[0]] = node.number("axis", 1 if is_old else -1), is_old
    return found


def _candidates(fmt: QFormat) -> list[int]:
    n = fmt.fraction_bits
    return [k for k in range(n - _AROUND, n + _AROUND + 1) if FRACTION_BITS[0] <= k <= FRACTION_BITS[-1]]


def _cross_entropy(values: NDArray[Any], fmt: QFormat, axis: tuple[int, bool]) -> float:
    """Return the cross-entropy between the Softmax of real logits, and that of their codes in a format."""
    if not values.size:
        return 0.0
    real = _rows(values, axis)
    real = real[np.isfinite(real.max(axis=-1, initial=-np.inf))]  # a Softmax has numbers only for these
    codes = quantize(real, fmt.fraction_bits, fmt.word())
    rounded = np.ldexp(codes.astype(np.float64), -fmt.fraction_bits)
    return -float(np.sum(exp(_log_softmax(real)) * _log_softmax(rounded)))


def _rows(values: NDArray[Any], axis: tuple[int, bool]) -> Reals:
    """Return values as rows, each of which a Softmax normalizes."""
    place, is_old = axis
    wide = values.astype(np.float64)
    if is_old:
        return wide.reshape(int(np.prod(values.shape[: place % max(1, values.ndim)])), -1)
    return np.moveaxis(wide, place, -1).reshape(-1, values.shape[place])


def _log_softmax(rows: Reals) -> Reals:
    shifted = rows - rows.max(axis=-1, keepdims=True)
    return np.asarray(shifted - log(exp(shifted).sum(axis=-1, keepdims=True)))


def _group(fixed: InferenceSession, name: str) -> list[str]:
    """Return the tensors that share a format with one."""
    table = fixed.network.table
    group = format_groups(fixed.graph, table.known).get(name) if table is not None else None
    return [name] if group is None else sorted(group.members)


__all__ = ["fit_logits"]
