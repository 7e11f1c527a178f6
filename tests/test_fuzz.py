"""A short run of the fuzzers, and the watch that they stand on: it must see a crash, a hang and a foreign exception."""

import sys
from pathlib import Path

import pytest
from children import start
from fuzzing.file_cases import COMMANDS, READS, file_case
from fuzzing.model_cases import model_case

FUZZ = Path(__file__).with_name("fuzz.py")

WATCHED = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from fuzzing.model_cases import Outcome
from fuzzing.watch import run

def perform(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 2:
        while True:
            time.sleep(1)
    if number == 3:
        return Outcome("foreign", "KeyError")
    if number == 4:
        raise RuntimeError("a fault of the fuzzer")
    return Outcome("result")

summary = run(range(6), perform, jobs=2, limit=1, memory=8 << 30, report=lambda finished: None)
print(sorted((number, outcome.kind) for number, outcome in summary.failures), summary.counts.total())
"""


def command(*words):
    process = start([sys.executable, *words])
    output, errors = process.communicate()
    return process.returncode, output + errors


@pytest.mark.parametrize(("kind", "count"), [("models", 1500), ("files", 40)])
def test_a_short_run_finds_nothing(kind, count):
    code, output = command(FUZZ, kind, "--seed", "0", "--count", str(count))
    assert (code, f"{count} cases of seed 0" in output) == (0, True), output[-3000:]


def test_the_watch_sees_a_crash_a_hang_and_a_foreign_exception_and_goes_on():
    _, output = command("-c", WATCHED, str(FUZZ.parent))
    assert output.splitlines()[-1] == "[(1, 'crash'), (2, 'hang'), (3, 'foreign'), (4, 'crash')] 6", output


def test_a_case_follows_from_its_seed_and_number():
    first, again, other = model_case(5, 17), model_case(5, 17), model_case(6, 17)
    assert (first.label, first.model, first.options) == (again.label, again.model, again.options)
    assert first.model != other.model
    assert file_case(5, 17) == file_case(5, 17) != file_case(6, 17)


def test_every_command_reads_a_file_that_is_damaged():
    assert COMMANDS.keys() == READS.keys()
