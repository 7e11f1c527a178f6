"""Width of tables, and status on a terminal."""

import io

import numpy as np
import pytest
from networks import network

from qengine import cli
from qengine.cli.output import console


@pytest.mark.parametrize(("columns", "widest"), [("80", 80), ("60", 80), (None, 200)])
def test_width(capsys, monkeypatch, columns, widest):
    """A narrow terminal gets 80 columns, a pipe what it takes."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert cli.main(["run", "srcnn", "--qformat", "Q4.3"]) == 0
    text = capsys.readouterr().out
    table = text.split("\n\n")[0].splitlines()[1:]
    assert max(map(len, table)) <= widest


def test_no_column_is_cut(capsys, monkeypatch):
    """A table that needs more than 80 columns has them; lines that a terminal wraps show every figure."""
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["inspect", "digits", "--data", "digits", "--limit", "2", "--qformat", "Q4.3"]) == 0
    lines = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert lines[2].split()[:4] == ["tensor", "format", "share", "dB"]
    assert "Q4.3    49.3%    19.6  17.8  +1.5  23.4  20.2" in lines[3]
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)


def test_status_is_for_terminals(monkeypatch, capsys):
    with console.status("running", quiet=False):
        pass
    assert capsys.readouterr().err == ""
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with console.status("running", quiet=False):
        pass
    assert "running" in stream.getvalue()


@pytest.mark.parametrize(("limit", "words"), [("1", ", 1 sample of digits"), ("2", ", 2 samples of digits")])
def test_one_sample_is_no_plural(capsys, limit, words):
    assert cli.main(["calibrate", "digits", "--limit", limit]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(words)


def test_a_column_with_a_least_width_keeps_its_words(monkeypatch):
    """Where two columns fold, rich may make one narrower than its least width, and then cut what stands beyond."""
    monkeypatch.setenv("COLUMNS", "80")
    table = console.open_table()
    table.add_column("tensor", overflow="fold", min_width=8)
    table.add_column("figures", no_wrap=True)
    table.add_column("try", overflow="fold", min_width=20)
    table.add_row("a.long.name.of.a.tensor", "1" * 60, "Q2.5: 2 fewer integer bits (+11.9 dB)")
    assert "(+11.9" in console.rendered("title", table, [])


def test_names_are_shortened_from_the_middle(capsys, monkeypatch):
    """Where a name has no room, its beginning and its end remain; names with room are whole."""
    long = "/model/layer1/layer1.0/conv1/Conv_output_0"
    assert console.shortened(long, len(long)) == long
    assert console.shortened(long, 24) == "/model/laye..nv_output_0"
    assert console.shortened(long, 25) == "/model/layer..nv_output_0"

    def first_cells():
        table = console.open_table()
        console.add_names(table, "tensor", [long, "x"])
        table.add_column("differences", no_wrap=True)
        for name in (long, "x"):
            table.add_row(console.Name(name), "1" * 50)
        lines = console.rendered("title", table, ()).splitlines()
        return [line.split()[0] for line in lines[2:4]]

    monkeypatch.setenv("COLUMNS", "120")
    assert first_cells() == [long, "x"]
    monkeypatch.setenv("COLUMNS", "80")
    whole, short = first_cells()
    assert (len(whole), short) == (80 - 50 - 2, "x")  # what the other column and the gap leave
    assert whole == console.shortened(long, len(whole))


@pytest.mark.parametrize(
    "words",
    [["calibrate", "MODEL", "--data", "DATA"], ["run", "MODEL", "-i", "x=DATA", "--qformat", "Q3.4"]],
    ids=lambda words: words[0],
)
def test_tables_of_tensors_shorten_names(capsys, monkeypatch, tmp_path, words):
    long = "/model/encoder/layers.0/self_attn/out_proj/Conv_output_0"
    model = network([("Conv", "x w", long)], outputs=[long], constants={"w": [[[[1.0]]] * 3]})
    (tmp_path / "m.onnx").write_bytes(model)
    np.savez(tmp_path / "d.npz", x=np.ones((1, 3, 6, 5), np.float32))
    places = {"MODEL": str(tmp_path / "m.onnx"), "DATA": str(tmp_path / "d.npz"), "x=DATA": f"x={tmp_path / 'd.npz'}"}
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([places.get(word, word) for word in words]) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("/model/enc")]
    assert rows == [console.shortened(long, 24)]
