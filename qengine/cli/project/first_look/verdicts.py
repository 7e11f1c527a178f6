"""Choice of a preprocessing: by accuracy where there are labels, and otherwise by how plausible the outputs are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qengine.cli.project.first_look.candidates import UNIT
from qengine.cli.project.first_look.trials import Trial, Trials
from qengine.metrics.tasks import Task

_MOST_SCORE = 100.0
"""Largest score that a network is likely to give on the numbers it was trained on."""

_FEW = 8
_CLEAR = 0.5  # dB between pictures that differ for a reason
_NEAR = 3.0  # dB between outputs that are about as close to the input


@dataclass(frozen=True)
class Verdict:
    """Preprocessing that is chosen.

    Attributes
    ----------
    chosen : index of the trial.
    words : verdict on each trial, in a word or two.
    is_measured : whether the choice rests on labels or targets, and not on what is plausible.
    notes : lines for the user.
    """

    chosen: int
    words: tuple[str, ...]
    is_measured: bool
    notes: tuple[str, ...]


def verdict(tried: Trials, *, typed: bool) -> Verdict:
    """Return the preprocessing that is chosen.

    Parameters
    ----------
    tried
        The trials.
    typed
        Whether the first one was typed, and is chosen without regard to the others.
    """
    trials = tried.trials
    words = [_fault(trial, tried) for trial in trials]
    sound = [i for i, word in enumerate(words) if not word]
    is_measured = trials[0].correct is not None or (tried.has_targets and trials[0].psnr is not None)
    ranked = sorted(sound or range(len(trials)), key=lambda i: _rank(trials[i], tried.task), reverse=True)
    best = ranked[0]
    chosen = 0 if typed else best
    notes = [] if typed and not is_measured else _notes(tried, ranked, is_measured)
    if typed and best != 0 and is_measured and _is_clearly_better(trials[best], trials[0]):
        notes.append(f"what was typed gives less than '{trials[best].candidate.name}': is it what the model needs?")
    for i in sound:
        words[i] = "plausible" if not is_measured and _is_near(trials[i], trials[best], tried.task) else ""
    if len(trials) > 1:
        words[best] = "best" if is_measured else words[best]
        words[chosen] = words[chosen] if is_measured or typed else "guess"
    return Verdict(chosen, tuple(words), is_measured, tuple(notes))


def _is_near(one: Trial, best: Trial, task: Task) -> bool:
    """Whether an output is as plausible as the best, where no true output is known."""
    if task is Task.IMAGES:
        return one.psnr is not None and best.psnr is not None and one.psnr > best.psnr - _NEAR
    return task is Task.CLASSES


def _fault(trial: Trial, tried: Trials) -> str:
    """Return what speaks against a preprocessing in a few words; "" for nothing."""
    if not trial.is_finite:
        return "not finite"
    if tried.task is not Task.CLASSES or trial.correct is not None:
        return ""
    if _is_extreme(trial):
        return "extreme scores"
    others = max(len(other.found) for other in tried.trials)
    return "one class for all" if trial.samples >= _FEW and len(trial.found) == 1 < others else ""


def _is_extreme(trial: Trial) -> bool:
    """Whether scores are so large that the model was hardly trained on such numbers."""
    return not trial.are_probabilities and max(abs(trial.low), abs(trial.high)) > _MOST_SCORE


def _rank(trial: Trial, task: Task) -> tuple[float, ...]:
    """Return figures by which the better of two trials is the larger."""
    if task is Task.CLASSES and trial.correct is not None:
        return float(trial.correct), float(not _is_extreme(trial)), trial.likelihood
    if task is Task.CLASSES:
        return (trial.confidence or 0.0,)
    if trial.psnr is None:  # nothing tells, and most detectors are trained on pixels / 255
        return (-math.inf, float(trial.candidate == UNIT))
    return (trial.psnr,)


def _is_clearly_better(one: Trial, other: Trial) -> bool:
    """Whether two trials differ by more than chance."""
    if one.accuracy is not None and other.accuracy is not None:
        share = (one.accuracy + other.accuracy) / 2
        return one.accuracy - other.accuracy > 2 * math.sqrt(2 * share * (1 - share) / one.samples)
    return (one.psnr or 0.0) - (other.psnr or 0.0) > _CLEAR


def _notes(tried: Trials, ranked: list[int], is_measured: bool) -> list[str]:
    trials = tried.trials
    best = trials[ranked[0]]
    if len(trials) == 1:
        return []
    if not is_measured:
        return [f"without labels '{best.candidate.name}' is a guess: check how the model was trained"]
    if best.accuracy is not None and len(tried.shape) == 2:
        chance = 1 / tried.shape[1]
        if best.accuracy <= 2 * chance + 1 / best.samples:
            return ["no preprocessing gives much more than chance: are labels, sizes and order of classes right?"]
    near = [trials[i].candidate.name for i in ranked[1:] if not _is_clearly_better(best, trials[i])]
    if near:
        listed = ", ".join(f"'{name}'" for name in near)
        return [f"on {best.samples} samples {listed} may be as good: check how the model was trained"]
    return []
