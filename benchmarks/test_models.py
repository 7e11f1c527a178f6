"""Timing of whole models beside other runtimes: float32, 8 and 16 bits, one thread and two."""

import benchmark_networks
import pytest

from qengine import InferenceSession
from qengine.analysis.bench.rivals import NAMES, RivalSetup, rival_runs

FORMATS = {"float32": None, "int8": "Q3.4", "int16": "Q3.12"}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("word", FORMATS)
@pytest.mark.parametrize("runtime", ["qengine", *NAMES])
@pytest.mark.parametrize("model", benchmark_networks.MODELS, indirect=True)
def test_model(benchmark, model, runtime, word, threads, request):
    path, feeds = model
    benchmark.group = f"{request.node.callspec.params['model']}, {word}, {threads} thread(s)"
    form = FORMATS[word]
    if runtime == "qengine":
        session = InferenceSession(path, qformat=form, threads=threads)
        benchmark(session.run, None, feeds)
        return
    bits = {"float32": None, "int8": 8, "int16": 16}[word]
    run = rival_runs([runtime], RivalSetup(path, feeds, bits, threads))[runtime]
    if isinstance(run, str):
        pytest.skip(run)
    benchmark(run)
