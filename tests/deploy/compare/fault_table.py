"""Which cause a comparison names for each fault of a device, in five networks.

`python tests/deploy/compare/fault_table.py` prints a line for each fault and network, and the shares of right and of
wrong answers. A fault that changes no code of an operator is left out.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parent.parent)]

import numpy as np
from fault_networks import NETWORKS
from faulty_device import Device, Fault

import qengine

LINEAR, CONV, POOL, MEAN = ("Conv", "Gemm"), ("Conv",), ("MaxPool",), ("AveragePool", "GlobalAveragePool")
ROUNDED = (*LINEAR, *MEAN, "Add")

# Name of the fault, operators that may have it, and names of the cause that are right.
FAULTS = [
    ("rounding floor", (*ROUNDED, "Sigmoid"), ("rounding:floor",)),
    ("rounding half_up", ROUNDED, ("rounding:half_up",)),
    ("rounding half_away", ROUNDED, ("rounding:half_away",)),
    ("rounding trunc", ROUNDED, ("rounding:trunc",)),
    ("rounding tflite", (*LINEAR, "Add"), ("rounding:tflite",)),
    ("overflow wrap", (*LINEAR, "Add"), ("overflow:wrap",)),
    ("accumulator 14 wraps", LINEAR, ("accumulator:wrap_14",)),
    ("accumulator 16 wraps", LINEAR, ("accumulator:wrap_16",)),
    ("accumulator 14 saturates", LINEAR, ("accumulator:saturate_14",)),
    ("shift +1", (*LINEAR, "Add"), ("shift:+1",)),
    ("shift -1", (*LINEAR, "Add"), ("shift:-1",)),
    ("shift +2", LINEAR, ("shift:+2",)),
    ("shift of the next channel", CONV, ("shift:next_channel",)),
    ("bias missing", LINEAR, ("bias:missing",)),
    ("bias 8 bits", LINEAR, ("bias:8_bits",)),
    ("bias shifted left", LINEAR, ("bias:shift+1",)),
    ("bias shifted right", LINEAR, ("bias:shift-2",)),
    ("bias after the shift", LINEAR, ("bias:after_shift",)),
    ("bias of the next channel", LINEAR, ("bias:next_channel",)),
    ("activation missing", ("Conv", "Add"), ("activation:missing",)),
    ("activation before the bias", CONV, ("activation:before_bias",)),
    ("bound +1", CONV, ("activation:high+1",)),
    ("bound -1", CONV, ("activation:high-1",)),
    ("padding of the edge", CONV, ("pad:edge",)),
    ("padding of the least code", CONV, ("pad:least",)),
    ("padding of 0", POOL, ("pad:zero",)),
    ("weights read as OHWI", CONV, ("weights:read_as_OHWI",)),
    ("weights stored as OHWI", CONV, ("weights:stored_as_OHWI",)),
    ("weights read as HWIO", CONV, ("weights:read_as_HWIO",)),
    ("kernel flipped", CONV, ("weights:flipped_both",)),
    ("kernel flipped left to right", CONV, ("weights:flipped_columns",)),
    ("kernel transposed", CONV, ("weights:transposed",)),
    ("weights transposed", ("Gemm",), ("weights:transposed",)),
    ("input sign", (*LINEAR, "AveragePool"), ("input:sign",)),
    ("input channels reversed", CONV, ("input:channels_reversed",)),
    ("input a row late", CONV, ("input:row+1",)),
    ("input a column early", CONV, ("input:column-1",)),
    ("input of the frame before", (*ROUNDED, "MaxPool"), ("input:stale",)),
    ("input bytes swapped", CONV, ("input:byte_order",)),
    ("input nhwc", CONV, ("input:read_as_NHWC",)),
    ("stride phase", CONV, ("window:phase_+1_+1",)),
    ("dilation ignored", CONV, ("window:no_dilation",)),
    ("groups interleaved", CONV, ("groups:inputs_interleaved",)),
    ("groups read the next", CONV, ("groups:+1",)),
    ("mean counts pads", ("AveragePool",), ("mean:counts_pads",)),
    ("add not aligned", ("Add",), ("add:not_aligned_output", "add:not_aligned_most", "add:not_aligned_first")),
    ("add aligned first", ("Add",), ("add:aligned_first",)),
    ("add without the second", ("Add",), ("add:no_second",)),
    ("concat order", ("Concat",), ("concat:reversed",)),
    ("concat not rescaled", ("Concat",), ("add:not_aligned_output",)),
    ("table one off", ("Sigmoid",), ("table:index+1_ends",)),
    ("table index of the other sign", ("Sigmoid",), ("table:sign",)),
    ("table index cut", ("Sigmoid",), ("table:index_cut_2",)),
]


@dataclass(frozen=True)
class Answer:
    """What a comparison said of a fault."""

    network: str
    fault: Fault
    right: tuple[str, ...]
    result: qengine.deploy.compare.Comparison
    seconds: float

    @property
    def is_right(self):
        cause = self.result.cause
        if cause is None or cause.tensor != self.fault.operator:
            return False
        # What gives the same codes for every input is as right.
        return not {cause.name, *cause.same_always}.isdisjoint(self.right)

    @property
    def is_wrong_and_sure(self):
        return not self.is_right and self.result.cause is not None and self.result.cause.is_complete


class Bench:
    """A network on the right device, and on devices with faults."""

    def __init__(self, make):
        self.case = make()
        self.session = qengine.InferenceSession(self.case.model, **self.case.options)
        right = Device(self.case.model, self.session.formats)
        self.frames = [right.run(feeds) for feeds in self.case.feeds]
        operators = {node.output[0]: node.op_type for node in right.graph.node}
        fused = {n.output[0]: operators[n.input[0]] for n in right.graph.node if n.op_type in ("Relu", "Clip")}
        self.operators = {name: fused.get(name, operators[name]) for name in self.frames[0] if name in operators}

    def dump(self, fault):
        """Return the codes of both frames on a device with a fault; None where it changes nothing."""
        device = Device(self.case.model, self.session.formats, fault)
        codes = device.run(self.case.feeds[1], self.frames[0])
        return None if all(np.array_equal(codes[n], self.frames[1][n]) for n in codes) else codes

    def ask(self, fault, right):
        codes = self.dump(fault)
        if codes is None:
            return None
        start = time.perf_counter()
        result = qengine.compare(self.session, codes, self.case.feeds)
        return Answer(self.case.name, fault, right, result, time.perf_counter() - start)


def answers(networks=NETWORKS, faults=FAULTS, most=99):
    """Yield the answer for each fault at each operator of each network."""
    for make in networks:
        bench = Bench(make)
        for name, operators, right in faults:
            asked = 0
            for tensor, operator in bench.operators.items():
                if operator in operators and asked < most:
                    try:
                        answer = bench.ask(Fault(tensor, name), right)
                    except (ValueError, KeyError):  # the fault does not exist for such a shape
                        continue
                    if answer is not None:
                        asked += 1
                        yield answer


def main():
    found = []
    for answer in answers():
        found.append(answer)
        cause = answer.result.cause
        name = "-" if cause is None else cause.name
        mark = (
            ("ok" if answer.result.cause.is_complete else "ok?")
            if answer.is_right
            else "WRONG"
            if answer.is_wrong_and_sure
            else "unsure"
        )
        others = "" if cause is None else " ".join(n for n in cause.equally_good if n not in cause.same_always)
        print(
            f"{mark:7}{answer.network:9} {answer.fault.operator:3} {answer.fault.name:30} {name:32} "
            f"{answer.result.explained:6.1%} {answer.seconds:5.2f} s {others}"
        )
    right, wrong = sum(a.is_right for a in found), sum(a.is_wrong_and_sure for a in found)
    kinds = len({a.fault.name for a in found})
    sure = sum(a.is_right and a.result.cause.is_complete for a in found)
    share = f"{right / len(found):.1%}"
    print(f"{kinds} faults, {len(found)} cases: {right} right ({share}), {sure} alone, {wrong} wrong and sure")


if __name__ == "__main__":
    main()
