"""What every command shows in terminals of 60 to 200 columns, of a model with long, foreign and meaningless names."""

import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios

import numpy as np
import onnx
import pytest
from children import start
from networks import network, weights
from rich.cells import cell_len

from qengine import InferenceSession, cli
from qengine.cli.output import console
from qengine.kernels.isa import available

CONV = "/model/backbone/stage3/block2/conv/Conv_output_0"
RELU = "/模型/骨干网络/第三阶段/卷积层/卷积输出_0"
LAST = "/modèle/étage3/ré\u0301sultat/très_long_nom_de_tenseur_qui_ne_finit_pas_0"
NODES = ("/stem/Conv", "", "/stage3/block2/第二/conv/Conv", "/add/Add", "", "", "/fc/Gemm")
WIDTHS = (60, 80, 100, 140, 200)
FIGURE = re.compile(r"[-+]?[\d,]+(\.\d+)?%?")
ISA = available()[0].name

COMMANDS = {
    "run": "run M -i image=D --qformat Q3.4",
    "run float32": "run M -i image=D",
    "inspect": "inspect M --qformat Q3.4",
    "inspect tensors": "inspect M --tensors",
    "blame": "inspect M --data D --qformat Q3.4 --group auto",
    "calibrate": "calibrate M --data D --per-channel",
    "quantize": "quantize M --data D --recipe fold+bias -o q.onnx",
    "sweep": "sweep M --data D --bits 6,8 --rounding half_even,floor -o sweep",
    "sweep of targets": "sweep M --data D --bits 8 --targets onnx,qonnx,tflite -o targets",
    "search": "search M --data D --metric sqnr --min 20 --bits 6,8 --max-runs 4",
    "bench": "bench M -i image=D --qformat Q3.4 --seconds 0.1 --isa ISA",
    "compare": "compare M dump.npz --qformat Q3.4",
    "compare dumps": "compare dump.npz other.npz",
    "targets": "targets",
    "one target": "targets cmsis-nn-q7",
    "check": "targets check M --target cmsis-nn-q7 --qformat Q3.4",
    "vectors": "export vectors M --data D --qformat Q3.4 --edges 1 --no-operator-vectors -o pack",
    "c": "export c M --data D --qformat Q3.4 -o net",
    "digits": "inspect digits --data digits --limit 2 --qformat Q3.4",
    "run digits": "run digits --qformat Q3.4",
}


def hostile():
    nodes = [
        ("Conv", "image onnx::Conv_123 onnx::Conv_124", CONV, {"pads": [1, 1, 1, 1]}),
        ("Relu", CONV, RELU),
        ("Conv", f"{RELU} onnx::Conv_126", "c", {"pads": [1, 1, 1, 1]}),
        ("Add", "c 42", "s"),
        ("GlobalAveragePool", "s", "g"),
        ("Flatten", "g", "f"),
        ("Gemm", "f onnx::Gemm_200 fc.bias", LAST),
    ]
    constants = {
        "onnx::Conv_123": weights(4, 3, 3, 3, seed=1),
        "onnx::Conv_124": weights(4, seed=2) * 100,
        "onnx::Conv_126": weights(4, 4, 3, 3, seed=3) * 0.001,
        "42": weights(1, 4, 1, 1, seed=4),
        "onnx::Gemm_200": weights(4, 10, seed=5),
        "fc.bias": weights(10, seed=6),
    }
    model = onnx.ModelProto.FromString(
        network(nodes, inputs={"image": ["N", 3, 8, 8]}, outputs=[LAST, "s"], constants=constants)
    )
    for node, name in zip(model.graph.node, NODES, strict=True):
        node.name = name
    return model.SerializeToString()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("screens")
    (place / "m.onnx").write_bytes(hostile())
    rng = np.random.default_rng(0)
    image = rng.random((4, 3, 8, 8), np.float32)
    np.savez(place / "d.npz", image=image)
    session = InferenceSession(hostile(), qformat="Q3.4", rounding="floor")
    names = ["image", RELU, "c", "s", "g", LAST]
    codes = dict(zip(names, session.run(names, {"image": image[:1]}, raw=True), strict=True))
    np.savez(place / "dump.npz", **codes)
    np.savez(place / "other.npz", **{name: array + (name != "image") for name, array in codes.items()})
    return place


@pytest.fixture(scope="module")
def parts_of():
    """The parts of the output of each command, which runs once."""
    return {}


@pytest.fixture
def screen(folder, capsys, monkeypatch, parts_of):
    monkeypatch.chdir(folder)
    for name in ("FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    lay_out = console.laid_out

    def shown(command, width):
        if command not in parts_of:
            monkeypatch.setattr(console, "laid_out", lambda parts, _: parts_of.update({command: list(parts)}) or "")
            words = [
                "m.onnx" if word == "M" else word.replace("=D", "=d.npz")
                for word in COMMANDS[command].replace("ISA", ISA).split()
            ]
            status = cli.main(["d.npz" if word == "D" else word for word in words])
            assert status in (0, 1), capsys.readouterr().err
        return lay_out(parts_of[command], width)

    return shown


def tables_of(text):
    """Return the tables of a text, each a list of lines: paragraphs of several lines with gaps of two spaces."""
    found = []
    for paragraph in text.split("\n\n")[:3]:
        lines = [line for line in paragraph.splitlines() if "  " in line.strip()]
        if len(lines) > 1:
            found.append(lines)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_every_width(screen, command):
    whole = screen(command, None)
    vocabulary = set(whole.split())
    for width in WIDTHS:
        text = screen(command, width)
        for line in text.splitlines():
            assert line == line.rstrip()
            if not line.startswith(("wrote ", "qengine ", "  qengine ")):
                assert cell_len(line) <= width, line
        assert "\N{HORIZONTAL ELLIPSIS}" not in text
        for word in text.replace("not shown:", "").split():
            if ".." in word:  # a name that was shortened keeps its ends
                begin, _, end = word.partition("..")
                assert begin or end
            elif re.fullmatch(r"[A-Za-z]{4,}", word) and "not shown" not in text:
                assert word in vocabulary, word


def cells(text):
    """Return (column of its end, cell) for the parts of a line between gaps."""
    return [(cell_len(text[: match.end()]), match.group()) for match in re.finditer(r"\S+(?: \S+)*", text)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", ["run", "blame", "calibrate", "search", "compare", "c", "bench", "vectors"])
def test_figures_are_whole_and_end_where_their_headings_end(screen, command, width):
    table = tables_of(screen(command, width))[0]
    ends = None
    rows = [line for line in table if re.match(r"(\S+ )*\S+  ", line) and not line.startswith("tensor")]
    rows = [line for line in rows if any(FIGURE.fullmatch(cell) for _, cell in cells(line)[1:])]
    assert len(rows) >= 4
    for row in rows:
        figures = {end for end, cell in cells(row)[1:] if FIGURE.fullmatch(cell)}
        ends = figures if ends is None else ends | figures
    heading_ends = {end for line in table if line not in rows for end, _ in cells(line)}
    assert ends <= heading_ends


@pytest.mark.parametrize("command", ["run", "blame", "calibrate", "search", "compare", "c"])
def test_names_come_first_and_constants_have_roles(screen, command):
    for width in WIDTHS:
        firsts = [line.split("  ")[0] for line in screen(command, width).split("\n\n")[0].splitlines()]
        assert any(first.startswith("/模型") for first in firsts) == (command not in ("c",))
        if command in ("blame", "calibrate", "search"):
            assert any(re.fullmatch(r"weights o.*/?stem/Conv", first) for first in firsts)
            assert not any("onnx::" in first for first in firsts)


def test_the_name_of_a_constant_is_in_json(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    for words in (
        ["calibrate", "m.onnx", "--data", "d.npz"],
        ["inspect", "m.onnx", "--data", "d.npz", "--qformat", "Q3.4"],
    ):
        assert cli.main([*words, "--json"]) == 0
        roles = {one["name"]: one["role"] for one in json.loads(capsys.readouterr().out)["tensors"]}
        assert roles["onnx::Conv_123"] == "weights of /stem/Conv"
        assert roles["image"] is None


@pytest.mark.parametrize("data", ["-i image=one.npy", "--data d.npz"])
def test_notes_of_a_run_say_what_a_constant_is(folder, capsys, monkeypatch, data):
    monkeypatch.chdir(folder)
    np.save("one.npy", np.load("d.npz")["image"][:1])
    assert cli.main(["run", "m.onnx", *data.split(), "--qformat", "Q3.4", "--weight-qformat", "Q0.7"]) == 0
    found = capsys.readouterr().out
    assert "constant 'onnx::Conv_123' (weights of /stem/Conv) saturate" in " ".join(found.split())


def on_a_terminal(words, columns, folder, **environment):
    """Return what a real process shows on a pseudo-terminal of some columns, as standard output and error."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")}
    command = [sys.executable, "-m", "qengine", *words]
    process = start(command, stdout=theirs, stderr=theirs, stdin=theirs, cwd=folder, env=clean | environment)
    os.close(theirs)
    found = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        found += part
    os.close(ours)
    assert process.wait() in (0, 1)
    return found.decode()


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        (["inspect", "m.onnx", "--qformat", "Q3.4", "--data", "d.npz"], 60),
        (["calibrate", "m.onnx", "--data", "d.npz"], 72),
        (["inspect", "m.onnx", "--tensors"], 200),
    ],
)
def test_on_a_real_terminal(folder, words, columns):
    text = on_a_terminal(words, columns, folder, TERM="xterm-256color")
    assert "\x1b[1m" in text
    last = text.rsplit("\x1b[2K", 1)[-1]  # after the bars, which delete themselves
    lines = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line).rstrip("\r") for line in last.split("\n")]
    assert max(cell_len(line) for line in lines if not line.startswith("  qengine ")) <= columns  # to paste
    assert any(line.startswith(("tensor ", "  ")) for line in lines)


def test_on_a_terminal_without_colours(folder):
    assert "\x1b" not in on_a_terminal(["inspect", "m.onnx", "-q"], 80, folder, TERM="dumb")
