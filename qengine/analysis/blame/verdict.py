"""Advice on the noise of a model, in sentences: which tensor or group to mend, or that all add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, isinf

from qengine.analysis.blame.result import Blame, GroupBlame, Suggestion, TensorBlame
from qengine.analysis.blame.suggest import PER_CHANNEL
from qengine.qformat import QFormat

_GOOD_DB = 60.0  # an SQNR that is seldom worth more
_LARGE_GAIN_DB = 3.0  # half of the noise
_MOST_OF_NOISE = 0.9
_APART_DB = 1.0
_COMPOUND_DB = 3.0
_MAX_BITS = 16


def verdict(found: Blame) -> Iterator[str]:
    """Yield sentences that say what the figures mean, and what to do."""
    rounded = found.rounded_db
    if rounded is None:
        yield "the output has no SQNR with all tensors rounded: see the notes, and first mend what becomes NaN"
        return
    if isinf(rounded):
        yield "nothing is lost at the output: there is nothing to mend"
    elif rounded >= _GOOD_DB:
        yield f"the output is as good as {rounded:.1f} dB with all tensors rounded: there is little to mend"
    else:
        yield _culprit(found, rounded)
        yield from _compounding(found, rounded)
    if found.sqnr_db is not None and rounded - found.sqnr_db > _APART_DB:
        less = "" if isinf(rounded) else f"{rounded - found.sqnr_db:.1f} dB "
        yield (
            f"the run in fixed point loses {less}more than the rounding of its tensors does: by what is rounded within "
            "operators (biases, sums that are cut, integer rules), or by rounding that goes another way"
        )


def _culprit(found: Blame, rounded: float) -> str:
    """Return who is to blame: a tensor, a group, or all together."""
    tensor = max(found.tensors, key=_gain_of, default=None)
    count, total = _largest(found.tensors)
    group = max((g for g in found.groups if len(g.tensors) < total), key=_gain_of, default=None)
    one, some = _gain_of(tensor), _gain_of(group)
    if tensor is not None and one >= _LARGE_GAIN_DB:
        return f"mend '{tensor.name}' first: without its rounding, {_words(tensor, rounded)}. Try {_remedy(tensor)}"
    begin = (
        "no tensor is to blame by itself"
        if tensor is None or one <= 0
        else (f"no tensor is to blame by itself: '{tensor.name}' costs most, {one:.1f} dB")
    )
    if group is not None and some >= max(_LARGE_GAIN_DB, one + _APART_DB):
        return (
            f"{begin}. Mend the group '{group.name}': without its rounding, {_words(group, rounded)}. "
            "Give its tensors longer words, or let a search do so (qengine search MODEL -o formats.json)"
        )
    return f"{begin}. {count} of {total} tensors make {_MOST_OF_NOISE:.0%} of the noise. {_remedy_for_all(found)}"


def _remedy_for_all(found: Blame) -> str:
    """Return what helps where the noise of many tensors adds up."""
    constants, activations = found.constants_db, found.activations_db
    per_channel = sum(one.suggestion is not None and one.suggestion.text == PER_CHANNEL for one in found.tensors)
    recipe = "or try a recipe (qengine quantize MODEL --recipe best -o quantized.onnx)"
    if constants is None or activations is None or abs(constants - activations) < _LARGE_GAIN_DB:
        return f"Give all of them a longer word (each bit is worth about 6 dB), {recipe}"
    if constants < activations:
        more = f"a format for each channel ({per_channel} of them gain by it), or " if per_channel else ""
        return f"Constants make most of it: give them {more}a longer word (--weight-qformat), {recipe}"
    return f"Inputs and activations make most of it: give them a longer word, and let the constants be, {recipe}"


def _compounding(found: Blame, rounded: float) -> Iterator[str]:
    """Yield whether the noises of the tensors just add up."""
    if found.sum_db is None or isinf(found.sum_db):
        return
    apart = found.sum_db - rounded
    if apart > _COMPOUND_DB:
        yield (
            f"the tensors compound: together they make {apart:.1f} dB more noise than the sum of each alone. Go by "
            "'all but', not by 'alone'"
        )
    elif -apart > _COMPOUND_DB:
        yield f"the noises cancel in part: together they are {-apart:.1f} dB less than the sum of each alone"


def _gain_of(one: TensorBlame | GroupBlame | None) -> float:
    return -inf if one is None or one.gain_db is None else one.gain_db


def _words(one: TensorBlame | GroupBlame, rounded: float) -> str:
    assert one.all_but_db is not None
    if isinf(one.all_but_db):
        return f"the output loses nothing ({rounded:.1f} dB with it)"
    return f"the output has {one.all_but_db:.1f} dB instead of {rounded:.1f}"


def _remedy(tensor: TensorBlame) -> str:
    hint: Suggestion | None = tensor.suggestion
    if hint is not None:
        return f"{hint.format} ({hint.text})" if isinstance(hint.format, QFormat) else hint.text
    if tensor.format.bits >= _MAX_BITS:
        return "float32 for its operator"
    return "a longer word for it, as a search finds (qengine search MODEL -o formats.json)"


def _largest(tensors: Sequence[TensorBlame]) -> tuple[int, int]:
    """Return how many tensors make most of the noise, and how many tensors are rounded."""
    sum_, count = 0.0, 0
    for tensor in tensors:
        if sum_ >= _MOST_OF_NOISE:
            break
        sum_, count = sum_ + tensor.share, count + 1
    return count, sum(one.output_db is not None for one in tensors)
