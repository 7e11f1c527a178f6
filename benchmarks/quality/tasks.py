"""How good outputs are, by the task of a model: one number, the larger the better.

    top1            % of the rows of scores whose greatest is that of the label
    text            % of the characters that a CTC recogniser reads right (1 - edit distance / length)
    map             % of intersection over union of a map of probabilities above 0.3
    segmentation    % of intersection over union of the greatest channel at each pixel, mean of the classes
    boxes           F1 in % of detected boxes, of the same class and with half of their union in common
    psnr            dB of pictures of numbers 0 to 1
    sqnr            dB of all outputs against float32

Without labels, what is right is what float32 gives. Every task but "sqnr" reads the first output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from cases import Case

Outputs = list[np.ndarray]
Runs = Sequence[Outputs]

MAP_LEVEL = 0.3
_SCORE, _OVERLAP, _SAME_OBJECT = 0.3, 0.5, 0.45


def sqnr_db(exact: Runs, given: Runs) -> float:
    """Return the SQNR in dB over all runs: the mean of noise to signal over the outputs that hold real numbers."""
    signal, noise = {}, {}
    for wanted, found in zip(exact, given, strict=True):
        for i, (f, q) in enumerate(zip(wanted, found, strict=True)):
            if isinstance(f, np.ndarray) and f.dtype.kind == "f" and f.size:
                wide = f.astype(np.float64)
                keep = np.isfinite(wide) & np.isfinite(q)
                signal[i] = signal.get(i, 0.0) + float(np.sum(wide[keep] ** 2))
                noise[i] = noise.get(i, 0.0) + float(np.sum((wide - q)[keep] ** 2))
    ratios = [noise[i] / signal[i] for i in signal if signal[i]]
    if not ratios:
        return float("nan")
    mean = sum(ratios) / len(ratios)
    return float("inf") if mean == 0 else -10 * float(np.log10(mean))


def _top1(case: Case, exact: Runs, given: Runs) -> float:
    right = total = 0
    for i, (wanted, found) in enumerate(zip(exact, given, strict=True)):
        labels = wanted[0].argmax(-1) if case.labels is None else case.labels[i]
        right += int(np.sum(found[0].argmax(-1).ravel() == np.ravel(labels)))
        total += np.size(labels)
    return 100 * right / total


def text_of(scores: np.ndarray, characters: Sequence[str]) -> str:
    """Return the text that rows of scores (steps, classes) spell: class 0 is the blank, repetitions count once."""
    classes = scores.argmax(-1)
    kept = [c for i, c in enumerate(classes) if c and (i == 0 or c != classes[i - 1])]
    return "".join(characters[c] if c < len(characters) else "?" for c in kept)


def distance(a: str, b: str) -> int:
    """Return the number of characters to insert, delete or replace that makes one text of another."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def _characters(case: Case) -> list[str]:
    """Return the characters by class: those of the case, or those that PaddleOCR's files have in their metadata."""
    if case.characters is not None:
        return [str(one) for one in case.characters]
    import onnx

    stored = {one.key: one.value for one in onnx.load(case.path, load_external_data=False).metadata_props}
    return ["", *stored["character"].splitlines(), " "]


def _text(case: Case, exact: Runs, given: Runs) -> float:
    characters, wrong, total = _characters(case), 0, 0
    for i, (wanted, found) in enumerate(zip(exact, given, strict=True)):
        for j, scores in enumerate(found[0]):
            text = text_of(wanted[0][j], characters) if case.labels is None else str(np.ravel(case.labels[i])[j])
            wrong += min(distance(text_of(scores, characters), text), len(text))
            total += len(text)
    return 100 * (1 - wrong / max(total, 1))


def _map(case: Case, exact: Runs, given: Runs) -> float:
    both = either = 0
    for i, (wanted, found) in enumerate(zip(exact, given, strict=True)):
        a = (wanted[0] if case.labels is None else case.labels[i]) > MAP_LEVEL
        b = found[0] > MAP_LEVEL
        both, either = both + int(np.sum(a & b)), either + int(np.sum(a | b))
    return 100 * both / either if either else 100.0


def _segmentation(case: Case, exact: Runs, given: Runs) -> float:
    classes = exact[0][0].shape[1]
    both, either = np.zeros(classes), np.zeros(classes)
    for i, (wanted, found) in enumerate(zip(exact, given, strict=True)):
        a = wanted[0].argmax(1) if case.labels is None else case.labels[i]
        b = found[0].argmax(1)
        for k in range(classes):
            both[k] += np.sum((a == k) & (b == k))
            either[k] += np.sum((a == k) | (b == k))
    used = either > 0
    return 100 * float(np.mean(both[used] / either[used]))


Boxes = np.ndarray
"""(boxes, 6): class, score, and the corners x0, y0, x1, y1."""


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box and each of others, given by their corners."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inside = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return inside / np.maximum(areas - inside, 1e-9)


def detected(joined: np.ndarray) -> Boxes:
    """Return the boxes of one joined head (4 + classes, places): centre, size, and a score for each class."""
    scores, classes = joined[4:].max(0), joined[4:].argmax(0)
    keep = scores > _SCORE
    centre, size = joined[:2, keep].T, joined[2:4, keep].T
    boxes = np.column_stack([classes[keep], scores[keep], centre - size / 2, centre + size / 2])
    boxes = boxes[np.argsort(-boxes[:, 1], kind="stable")]
    found: list[np.ndarray] = []
    while len(boxes):
        first, boxes = boxes[0], boxes[1:]
        found.append(first)
        is_other = (boxes[:, 0] != first[0]) | (overlap(first[2:], boxes[:, 2:]) < _SAME_OBJECT)
        boxes = boxes[is_other]
    return np.array(found).reshape(-1, 6)


def _boxes(case: Case, exact: Runs, given: Runs) -> float:
    hits = wanted_count = found_count = 0
    for i, (wanted, found) in enumerate(zip(exact, given, strict=True)):
        for j, joined in enumerate(found[0]):
            right = detected(wanted[0][j]) if case.labels is None else case.labels[i][j]
            right = right[right[:, 0] >= 0]  # labels are filled up with class -1
            left, own = list(range(len(right))), detected(joined)
            for box in own:
                shares = overlap(box[2:], right[left][:, 2:]) * (right[left][:, 0] == box[0])
                if len(left) and shares.max() >= _OVERLAP:
                    left.pop(int(shares.argmax()))
                    hits += 1
            wanted_count, found_count = wanted_count + len(right), found_count + len(own)
    return 100 * 2 * hits / max(wanted_count + found_count, 1)


def _psnr(case: Case, exact: Runs, given: Runs) -> float:
    total, count = 0.0, 0
    for i, (wanted, found) in enumerate(zip(exact, given, strict=True)):
        target = wanted[0] if case.labels is None else case.labels[i]
        total += float(np.sum((np.clip(found[0], 0, 1).astype(np.float64) - target) ** 2))
        count += target.size
    return -10 * float(np.log10(total / count)) if total else float("inf")


TASKS: dict[str, tuple[str, Callable[[Case, Runs, Runs], float]]] = {
    "top1": ("top-1 %", _top1),
    "text": ("characters %", _text),
    "map": ("map IoU %", _map),
    "segmentation": ("IoU %", _segmentation),
    "boxes": ("boxes F1 %", _boxes),
    "psnr": ("PSNR dB", _psnr),
    "sqnr": ("SQNR dB", lambda _case, exact, given: sqnr_db(exact, given)),
}
"""Heading and function of each task, by name."""
