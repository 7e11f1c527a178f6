"""Runs in a folder with a project file: what they take from it, and what is on standard output."""

import json
from pathlib import Path

import numpy as np
from networks import network

from qengine import cli


def test_json_stays_alone_on_standard_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("qengine.toml").write_text('model = "digits"\n[preprocessing]\nscale = "1/255"\n')
    assert cli.main(["run", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["model"] == "digits"
    assert printed.err == "qengine.toml: model, preprocessing\n"


def test_a_run_tells_that_it_takes_the_samples(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(network([("Relu", "x", "y")], inputs={"x": ["N", 2]}))
    np.savez("d.npz", x=np.ones((5, 2), np.float32))
    np.save("one.npy", np.ones((1, 2), np.float32))
    Path("qengine.toml").write_text('model = "m.onnx"\ndata = "d.npz"\n')
    assert cli.main(["run", "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["samples"] == 5
    assert found.err == "qengine.toml: model, data; the samples of d.npz are run, and one input with -i NAME=VALUE\n"
    assert cli.main(["run", "-i", "x=one.npy", "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["inputs"][0]["shape"] == [1, 2]
    assert found.err == "qengine.toml: model\n"
