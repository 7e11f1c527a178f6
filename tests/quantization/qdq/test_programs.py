"""Random programs, quantized: the file has the codes of the session, and nearly always those of ONNX Runtime.

`python tests/quantization/qdq/test_programs.py FIRST COUNT` checks the programs of other seeds.
"""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from networks import onnxruntime_session
from random_graphs import random_program

import qengine
from qengine import CalibrationOptions

CHUNK = 12


@dataclass
class Outcome:
    """What the checks of some programs found.

    Attributes
    ----------
    wrong : programs whose file differs from the session, or is refused.
    codes, others : number of codes, and of those that ONNX Runtime computes differently.
    most : by how many steps.
    programs, exact : number of programs, and of those with the same codes in ONNX Runtime.
    blocks : how often each block occurs.
    """

    wrong: list[str] = field(default_factory=list)
    codes: int = 0
    others: int = 0
    most: float = 0.0
    programs: int = 0
    exact: int = 0
    blocks: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.programs} programs: {len(self.wrong)} wrong, {self.exact} with the same codes in ONNX Runtime, "
            f"{self.others} of {self.codes} codes others there, by up to {self.most:g} steps"
        )


def quantized(program):
    bits = (8, 16)[program.seed % 2]
    options = CalibrationOptions(bits=bits, per_channel=program.seed // 2 % 2 == 0, unsigned=program.seed // 4 % 4 == 0)
    recipe = ("fold", "none", "best", "fold", "fold")[program.seed % 5]
    rest = f"Q3.{bits - 4}"
    return qengine.quantize_model(program.model, program.feeds, recipe=recipe, options=options, qformat=rest)


def check(seed: int, outcome: Outcome) -> None:
    """Quantize the program of a seed, and compare the session, the file and ONNX Runtime on all feeds."""
    program = random_program(seed)
    outcome.programs += 1
    outcome.blocks.update(word.strip() for word in program.trail)
    try:
        found = quantized(program)
        back = qengine.InferenceSession(found.model.SerializeToString())
        assert back.notes == ()
        assert found.check.startswith("read back"), found.check
        for feeds in program.feeds:
            for theirs, ours in zip(
                found.session.run(None, feeds, raw=True), back.run(None, feeds, raw=True), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs, strict=True)
    except (qengine.QEngineError, AssertionError) as error:
        outcome.wrong.append(f"{program}\n  {type(error).__name__}: {str(error).strip()[:400]}")
        return
    others = outcome.others
    other = onnxruntime_session(found.model.SerializeToString())
    for feeds in program.feeds:
        results = found.session.run(None, feeds), other.run(None, feeds)
        for output, ours, theirs in zip(found.session.get_outputs(), *results, strict=True):
            form = found.session.formats.get(output.name)
            step = min(one.step for one in getattr(form, "formats", [form])) if form and ours.dtype == np.float32 else 1
            steps = np.abs(ours.astype(np.float64) - theirs) / step  # of the finest part, where there are several
            outcome.codes += steps.size
            outcome.others += int((steps > 0.5).sum())
            outcome.most = max(outcome.most, float(steps.max(initial=0.0)))
    outcome.exact += outcome.others == others


def outcome_of(seeds) -> Outcome:
    outcome = Outcome()
    for seed in seeds:
        check(seed, outcome)
    return outcome


def assert_right(outcome: Outcome) -> None:
    assert not outcome.wrong, "\n".join(outcome.wrong)
    # Ties of float32, which an ArgMax or a comparison after them can make larger.
    assert outcome.exact >= 0.8 * outcome.programs, outcome
    assert outcome.others <= 0.02 * outcome.codes, outcome


@pytest.mark.parametrize("first", range(0, 36, CHUNK))
def test_the_file_is_the_session(first, monkeypatch):
    monkeypatch.setenv("QENGINE_ISA", "reference")
    assert_right(outcome_of(range(first, first + CHUNK)))


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(1000, 2000, 40))
def test_the_file_is_the_session_for_a_thousand_programs(first, monkeypatch):
    monkeypatch.setenv("QENGINE_ISA", "reference")
    assert_right(outcome_of(range(first, first + 40)))


def test_native_kernels_have_the_same_codes():
    assert_right(outcome_of(range(50, 53)))


def test_every_block_occurs():
    from random_graphs.blocks import BLOCKS

    words = Counter(word.strip() for seed in range(300) for word in random_program(seed).trail)
    assert {name for name in BLOCKS if words[name] < 10} == set()
    opsets = {random_program(seed).model.opset_import[0].version for seed in range(60)}
    assert opsets == {7, 9, 10, 11, 13, 17, 18, 21}


if __name__ == "__main__":
    start, count = map(int, sys.argv[1:])
    result = outcome_of(range(start, start + count))
    print(*result.wrong, result, sep="\n")  # noqa: T201 - a command
    sys.exit(bool(result.wrong))
