"""Test benches that feed a pack to a design and check what it gives: Verilog, and Python for cocotb.

The design is a module `dut` with a clock `clk`, a reset `rst` (high, for some cycles first), and one stream for each
tensor: NAME_valid, NAME_ready and NAME_data, where NAME is the C name of the tensor. A word passes in each cycle in
which both valid and ready are high, as on AXI-Stream; it is a line of the tensor's hex file, so that lanes and layout
are those of the pack. Streams of a vector begin after the reset, and those of the next vector when all words of the
last have come. Words are compared by `!==`, which an undefined bit does not pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stream:
    """Words of a tensor.

    Attributes
    ----------
    name : C name of the tensor.
    title : name in the model and format, for a comment.
    width : bits of a line.
    lines : number of lines.
    is_input : whether the design reads it.
    files : hex file of each vector, relative to the pack.
    """

    name: str
    title: str
    width: int
    lines: int
    is_input: bool
    files: tuple[str, ...]


_INPUT = """\
  // {title}
  reg [{top}:0] {name}_mem [0:{last}];
  integer {name}_at;
  reg {name}_valid;
  wire {name}_ready;
  wire [{top}:0] {name}_data = {name}_mem[{name}_at];
  always @(posedge clk) begin
    if (rst) {name}_valid <= 1'b0;
    else if (start) begin
      {name}_at <= 0;
      {name}_valid <= 1'b1;
    end else if ({name}_valid && {name}_ready) begin
      if ({name}_at == {last}) {name}_valid <= 1'b0;
      else {name}_at <= {name}_at + 1;
    end
  end
"""

_OUTPUT = """\
  // {title}
  reg [{top}:0] {name}_mem [0:{last}];
  integer {name}_at;
  integer {name}_errors = 0;
  wire {name}_valid;
  wire {name}_ready = 1'b1;
  wire [{top}:0] {name}_data;
  always @(posedge clk) begin
    if (rst || start) {name}_at <= 0;
    else if ({name}_valid !== 1'b0) begin
      if ({name}_at == {lines} || {name}_valid !== 1'b1) begin
        {name}_errors <= {name}_errors + 1;
        $display("FAIL vector %0s tensor {name}: valid is %b after %0d of {lines} words", vector, {name}_valid,
                 {name}_at);
      end else begin
        if ({name}_data !== {name}_mem[{name}_at]) begin
          {name}_errors <= {name}_errors + 1;
          if ({name}_errors < 20)
            $display("FAIL vector %0s tensor {name} word %0d: expected %h, found %h", vector, {name}_at,
                     {name}_mem[{name}_at], {name}_data);
        end
        {name}_at <= {name}_at + 1;
      end
    end
  end
"""

_BENCH = """\
// {title}
//
// Checks a module `dut` on the vectors of a pack; see docs/how-to/vectors.md. Run it in the folder of the pack, or with
// +pack=FOLDER. It prints a line for each word that differs, then PASS or FAIL; after FAIL the exit status is not 0.
//   $ iverilog -g2012 -o tb {file} dut.v && vvp -n tb
//   $ verilator --binary --timing -Wno-fatal --top-module {module} {file} dut.v && obj_dir/V{module}
`timescale 1ns/1ps
module {module};
  reg clk = 1'b0;
  reg rst = 1'b1;
  reg start = 1'b0;
  reg [8*{vector_length}-1:0] vector = "";
  reg [8*1024-1:0] pack;
  reg [8*1280-1:0] path;
  integer cycle;
  integer limit;
  always #5 clk = ~clk;

{streams}
  dut dut (
    .clk(clk), .rst(rst),
{ports}
  );

  wire done = {done};

  task run_vector;
    begin
      @(negedge clk) start = 1'b1;
      @(negedge clk) start = 1'b0;
      cycle = 0;
      while (!done && cycle < limit) begin
        @(negedge clk) cycle = cycle + 1;
      end
      if (!done) begin
        $display("FAIL vector %0s: not all words came within %0d cycles", vector, limit);
{missing}
        $fatal(1, "FAIL: the design stopped");
      end
      // A design that gives more words than there are shows it now.
      repeat (4) @(negedge clk);
    end
  endtask

  initial begin
    if (!$value$plusargs("pack=%s", pack)) pack = ".";
    if (!$value$plusargs("limit=%d", limit)) limit = {limit};
    repeat (4) @(negedge clk);
    rst = 1'b0;
{vectors}
    if ({errors} != 0) $fatal(1, "FAIL: %0d words differ", {errors});
    $display("PASS: {count} words of {number} vectors are equal");
    $finish;
  end
endmodule
"""


def verilog(module: str, title: str, streams: Sequence[Stream], vectors: Sequence[str]) -> str:
    """Return a test bench.

    Parameters
    ----------
    module
        Name of its module; the file is MODULE.v in the folder tb.
    title
        Name of the part that is checked, for a comment.
    streams
        Streams of the design; their files are in the order of the vectors.
    vectors
        Names of the vectors.
    """
    outputs = [s for s in streams if not s.is_input]
    fields = [
        {"name": s.name, "title": _comment(s.title), "top": s.width - 1, "last": s.lines - 1, "lines": s.lines}
        for s in streams
    ]
    parts = [(_INPUT if s.is_input else _OUTPUT).format(**f) for s, f in zip(streams, fields, strict=True)]
    ports = [f"    .{s.name}_{end}({s.name}_{end})" for s in streams for end in ("valid", "ready", "data")]
    calls = []
    for i, vector in enumerate(vectors):
        calls.append(f'    vector = "{vector}";')
        for s in streams:
            calls.append(f'    $sformat(path, "%0s/{s.files[i]}", pack);')
            calls.append(f"    $readmemh(path, {s.name}_mem);")
        calls.append("    run_vector;")
    missing = [f'        $display("  tensor {s.name}: %0d of {s.lines} words", {s.name}_at);' for s in outputs]
    total = sum(s.lines for s in streams)
    return _BENCH.format(
        module=module,
        file=f"tb/{module}.v",
        title=_comment(title),
        streams="\n".join(parts),
        ports=",\n".join(ports),
        done=" && ".join(f"({s.name}_at == {s.lines})" for s in outputs),
        vector_length=max(len(v) for v in vectors),
        missing="\n".join(missing),
        limit=max(1_000_000, 10_000 * total),
        vectors="\n".join(calls),
        errors="(" + " + ".join(f"{s.name}_errors" for s in outputs) + ")",
        count=sum(s.lines for s in outputs) * len(vectors),
        number=len(vectors),
    )


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() and c not in "\\`" else "?" for c in text)


COCOTB = '''\
"""Check a design on the vectors of a pack with cocotb; made by qengine, see docs/how-to/vectors.md.

The design is the one that tb_pack.v describes: `clk`, `rst`, and NAME_valid, NAME_ready, NAME_data for each tensor.
Environment: PACK is the folder of the pack, by default the one above this file; OPERATOR names one of its operators,
whose own vectors are then taken; LIMIT is the number of cycles that a vector may take.
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

PACK = Path(os.environ.get("PACK", Path(__file__).resolve().parent.parent))
LIMIT = int(os.environ.get("LIMIT", "10000000"))


def lines(path):
    """Return the lines of a hex file as integers."""
    text = path.read_text().splitlines()
    return [int(line, 16) for line in (one.split("//")[0].strip() for one in text) if line]


def benches():
    """Yield the name of each vector, and its files by the C name of the tensor: of inputs, of outputs."""
    manifest = json.loads((PACK / "manifest.json").read_text())
    bench = manifest["test_benches"][os.environ.get("OPERATOR", "")]
    for i, vector in enumerate(bench["vectors"]):
        inputs = {s["name"]: PACK / s["files"][i] for s in bench["streams"] if s["input"]}
        outputs = {s["name"]: PACK / s["files"][i] for s in bench["streams"] if not s["input"]}
        yield vector, inputs, outputs


async def feed(dut, name, words):
    """Drive one input."""
    valid, ready, data = (getattr(dut, f"{name}_{end}") for end in ("valid", "ready", "data"))
    for word in words:
        data.value = word
        valid.value = 1
        await RisingEdge(dut.clk)
        while int(ready.value) != 1:
            await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
    valid.value = 0


async def check(dut, name, words, vector, faults):
    """Compare one output."""
    valid, ready, data = (getattr(dut, f"{name}_{end}") for end in ("valid", "ready", "data"))
    ready.value = 1
    for index, word in enumerate(words):
        for _ in range(LIMIT):
            await RisingEdge(dut.clk)
            if str(valid.value) == "1":
                break
        else:
            faults.append(f"vector {vector} tensor {name}: {index} of {len(words)} words came")
            return
        found = str(data.value)
        if not set(found) <= {"0", "1"} or int(found, 2) != word:
            faults.append(f"vector {vector} tensor {name} word {index}: expected {word:x}, found {found}")


@cocotb.test()
async def pack(dut):
    """Run all vectors."""
    cocotb.start_soon(Clock(dut.clk, 10, "step").start())
    dut.rst.value = 1
    vectors = list(benches())
    for _, inputs, outputs in vectors[:1]:
        for name in inputs:
            getattr(dut, f"{name}_valid").value = 0
        for name in outputs:
            getattr(dut, f"{name}_ready").value = 0
    for _ in range(4):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    faults = []
    for vector, inputs, outputs in vectors:
        await FallingEdge(dut.clk)
        tasks = [cocotb.start_soon(feed(dut, name, lines(path))) for name, path in inputs.items()]
        tasks += [cocotb.start_soon(check(dut, name, lines(path), vector, faults)) for name, path in outputs.items()]
        for task in tasks:
            await task
    assert not faults, f"{len(faults)} words differ: " + "; ".join(faults[:10])
'''
