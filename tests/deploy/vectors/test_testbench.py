"""The test benches run in simulators: a design that is right passes, a wrong one and a flipped code do not."""

import shutil
import subprocess

import pytest
from vector_nets import feeds_of, mixed, session_of

from qengine import Pack, export_vectors, open_dataset, zoo

# A dense layer, one input a cycle, then one output a cycle: the weights and the bias are those of the pack.
DENSE = """
module dut (input clk, input rst, input in0_valid, output in0_ready, input [7:0] in0_data,
            output out_valid, input out_ready, output [7:0] out_data);
  reg signed [7:0] w [0:{outputs}*{inputs}-1];
  reg signed [31:0] b [0:{outputs}-1];
  reg signed [7:0] x [0:{inputs}-1];
  integer read, written, k;
  reg busy;
  reg signed [47:0] acc;
  initial begin
    $readmemh("w/{name}_weights.hex", w);
    $readmemh("w/{name}_bias.hex", b);
  end
  assign in0_ready = !busy;
  assign out_valid = busy;
  assign out_data = acc[7:0];
  always @(posedge clk)
    if (rst) begin read <= 0; written <= 0; busy <= 0; end
    else if (!busy && in0_valid) begin
      x[read] <= in0_data;
      read <= read == {inputs} - 1 ? 0 : read + 1;
      busy <= read == {inputs} - 1;
    end else if (busy && out_ready) begin
      written <= written == {outputs} - 1 ? 0 : written + 1;
      busy <= written != {outputs} - 1;
    end
  always @(negedge clk) begin
    acc = b[written];
    for (k = 0; k < {inputs}; k = k + 1) acc = acc + x[k] * w[written * {inputs} + k];
    acc = (acc + {c0} + ({c1} & (acc >>> {shift}))) >>> {shift};
    if (acc > 127) acc = 127;
    if (acc < -128) acc = -128;
  end
endmodule
"""

# A design that plays what it was told.
PLAYER = """
module dut (input clk, input rst, input x_valid, output x_ready, input [7:0] x_data,
            output y_valid, input y_ready, output [7:0] y_data);
  reg [7:0] words [0:{count}-1];
  integer read, at;
  initial $readmemh("{file}", words);
  assign x_ready = 1'b1;
  assign y_valid = read >= {inputs};
  assign y_data = words[at];
  always @(posedge clk)
    if (rst) begin read <= 0; at <= 0; end
    else begin
      if (x_valid) read <= read + 1;
      if (y_valid) begin at <= at + 1; if (at % {outputs} == {outputs} - 1) read <= 0; end
    end
endmodule
"""


def simulate_icarus(folder, bench, design):
    (folder / "dut.v").write_text(design)
    command = ["iverilog", "-g2012", "-o", "bench", f"tb/{bench}.v", "dut.v"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return subprocess.run(["vvp", "-n", "bench"], cwd=folder, capture_output=True, text=True)


def simulate_verilator(folder, bench, design):
    (folder / "dut.v").write_text(design)
    command = ["verilator", "--binary", "--timing", "-Wno-fatal", "-Wno-lint", "--top-module", bench]
    command += ["-Mdir", "obj", f"tb/{bench}.v", "dut.v"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return subprocess.run([folder / "obj" / f"V{bench}"], cwd=folder, capture_output=True, text=True)


SIMULATORS = {"iverilog": simulate_icarus, "verilator": simulate_verilator}


@pytest.fixture(params=SIMULATORS)
def simulate(request):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return SIMULATORS[request.param]


@pytest.fixture
def icarus():
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    return simulate_icarus


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    session = session_of(mixed())
    folder = tmp_path_factory.mktemp("packs") / "pack"
    return export_vectors(session, feeds_of(session, 2), folder, kinds="hex", edges=2)


@pytest.fixture
def pack(made, tmp_path):
    return Pack.read(shutil.copytree(made.folder, tmp_path / "pack"))


def dense(pack, **changes):
    one = pack.operators["the_y"]
    fields = {"name": "the_y", "inputs": 24, "outputs": 5, "shift": one["shift"], **one["rounding_constants"]}
    return DENSE.format(**{**fields, **changes})


def test_an_operator_passes_alone(pack, simulate):
    right = simulate(pack.folder, "tb_the_y", dense(pack))
    assert right.returncode == 0, right.stdout
    assert "PASS: " in right.stdout


def test_an_operator_with_another_rounding_fails(pack, icarus):
    half_up = icarus(pack.folder, "tb_the_y", dense(pack, c0=1 << (pack.operators["the_y"]["shift"] - 1), c1=0))
    assert half_up.returncode != 0
    assert "tensor out word" in half_up.stdout
    assert "PASS" not in half_up.stdout


def test_the_bundled_digits(tmp_path, icarus):
    """Searched vectors raise the score; a bench passes the right design, and fails for one flipped code."""
    session = session_of(zoo.path_of("digits"), qformat="Q4.3")
    feeds = [dict(batch.feeds) for batch in open_dataset("digits", session.graph, limit=1).batches()]
    pack = export_vectors(session, feeds, tmp_path / "pack", kinds="hex", edges=2)
    assert pack.score["detected_by_data"] < pack.score["detected_with_operator_vectors"] > 0.99 * pack.score["faults"]
    one = pack.operators["classifier_Gemm"]
    shape = {"name": "classifier_Gemm", "inputs": 64, "outputs": 10}
    design = DENSE.format(**shape, shift=one["shift"], **one["rounding_constants"])
    assert icarus(pack.folder, "tb_classifier_Gemm", design).returncode == 0
    path = pack.folder / "op/classifier_Gemm/v1/out.hex"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], f"{int(lines[-1], 16) ^ 1:02x}"]) + "\n")
    assert icarus(pack.folder, "tb_classifier_Gemm", design).returncode != 0


def test_one_flipped_code_fails(pack, icarus):
    path = pack.folder / "op/the_y/v0/out.hex"
    lines = path.read_text().splitlines()
    lines[3] = f"{int(lines[3], 16) ^ 1:02x}"
    path.write_text("\n".join(lines) + "\n")
    found = icarus(pack.folder, "tb_the_y", dense(pack))
    assert found.returncode != 0
    assert f"FAIL vector v0 tensor out word 2: expected {lines[3]}" in found.stdout
    assert "FAIL: 1 words differ" in found.stdout


@pytest.fixture
def player(pack):
    """A function that returns a design that gives the right outputs with one word changed."""

    def make(word=None, text="xx"):
        words = []
        for sample in pack.samples:
            words += (pack.folder / f"t/{sample}/y.hex").read_text().splitlines()[1:]
        if word is not None:
            words[word] = text
        (pack.folder / "words.hex").write_text("\n".join(words) + "\n")
        return PLAYER.format(count=len(words), file="words.hex", inputs=90, outputs=5)

    return make


def test_the_whole_network(pack, player, icarus):
    assert icarus(pack.folder, "tb_pack", player()).returncode == 0
    found = icarus(pack.folder, "tb_pack", player(7, "7e"))
    assert found.returncode != 0
    assert "FAIL vector s1 tensor y word 2" in found.stdout


def test_undefined_bits_do_not_pass(pack, player, icarus):
    found = icarus(pack.folder, "tb_pack", player(7))
    assert found.returncode != 0
    assert "found xx" in found.stdout


@pytest.mark.usefixtures("icarus")
def test_a_design_that_stops_is_named(pack):
    design = PLAYER.format(count=1, file="words.hex", inputs=91, outputs=5)
    (pack.folder / "dut.v").write_text(design)
    bench = pack.folder / "bench"
    subprocess.run(["iverilog", "-g2012", "-o", bench, "tb/tb_pack.v", "dut.v"], cwd=pack.folder, check=True)
    found = subprocess.run(["vvp", "-n", bench, "+limit=500"], cwd=pack.folder, capture_output=True, text=True)
    assert found.returncode != 0
    assert "FAIL vector s0: not all words came within 500 cycles" in found.stdout
    assert "tensor y: 0 of 5 words" in found.stdout


def test_the_pack_may_be_elsewhere(pack, player, tmp_path, icarus):
    icarus(pack.folder, "tb_pack", player())
    shutil.copy(pack.folder / "words.hex", tmp_path)
    command = ["vvp", "-n", pack.folder / "bench", f"+pack={pack.folder}"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0


@pytest.mark.usefixtures("icarus")
def test_cocotb(pack, monkeypatch):
    pytest.importorskip("cocotb", reason="cocotb is not installed")
    from cocotb_tools.runner import get_runner

    monkeypatch.syspath_prepend(pack.folder / "tb")
    path = pack.folder / "op/the_y/v0/out.hex"
    right = path.read_text()
    (pack.folder / "dut.v").write_text(dense(pack))
    runner = get_runner("icarus")
    runner.build(sources=[pack.folder / "dut.v"], hdl_toplevel="dut", build_dir=pack.folder / "sim")

    def simulate():
        folders = {"test_dir": pack.folder, "build_dir": pack.folder / "sim"}
        environment = {"PACK": str(pack.folder), "OPERATOR": "the_y"}
        runner.test(hdl_toplevel="dut", test_module="test_pack", extra_env=environment, **folders)

    simulate()
    path.write_text(right.replace(right.splitlines()[3], "5a", 1))
    with pytest.raises(SystemExit):
        simulate()
