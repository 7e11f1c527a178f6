"""net.json: a network in C as data, of the family of the manifest of golden packs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

import qengine
from qengine.deploy.c.arena import as_mapping
from qengine.deploy.c.emit.formats import layout_name, order_names
from qengine.deploy.c.emit.parameters import parameter_of
from qengine.deploy.c.emit.project import Source
from qengine.deploy.c.ir import CTensor, Operation
from qengine.deploy.c.options import COptions
from qengine.deploy.c.sizes import Measured, flash_of, instructions_of
from qengine.deploy.c.verify import Verification
from qengine.deploy.c_folder import KIND
from qengine.deploy.vectors.describe import (
    activation_of,
    attributes_of,
    format_as_json,
    plain,
    rounding_constants,
    rules_as_json,
    window_of,
)
from qengine.deploy.vectors.manifest import GENERATOR, SCHEMA, formats_digest, model_digest
from qengine.deploy.vectors.record import Operator
from qengine.model.steps import Linear
from qengine.model.steps.accumulator import Accumulation
from qengine.qformat import QFormat
from qengine.runtime.plan.plan import BoundStep, Plan
from qengine.runtime.session import InferenceSession


@cache
def c_schema() -> dict[str, Any]:
    """Return the schema of net.json."""
    text = files("qengine.deploy.c").joinpath("net.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def c_manifest(
    session: InferenceSession,
    plan: Plan,
    source: Source,
    options: COptions,
    command: str,
    notes: Sequence[str],
    checked: Sequence[str],
) -> dict[str, Any]:
    """Return the content of net.json but for what is known only when all files are there; see `completed`.

    Parameters
    ----------
    session, plan
        The session, and the plan that the network was made from.
    source
        The files in C.
    options, command
        Options, and the command line.
    notes
        Lines for the user.
    checked
        Words for the inputs of the self-test: of the known answer, then of those whose outputs are compared.
    """
    network, arena = source.network, source.arena
    target = getattr(session.options, "target", None)
    return {
        "schema": SCHEMA,
        "generator": GENERATOR,
        "kind": KIND,
        "version": qengine.__version__,
        "command": command,
        "name": options.name,
        "model": {
            "sha256": model_digest(session),
            "inputs": [t.name for t in network.inputs],
            "outputs": [t.name for t in network.outputs],
        },
        "formats": {"sha256": formats_digest(session)},
        "target": None if target is None else str(getattr(target, "name", target)),
        "rules": rules_as_json(session.rules),
        "memory": {
            "arena": arena.bytes,
            "bound": arena.bound,
            **as_mapping(arena),
            "alignment": max([4, *(r.width for r in arena.regions)]),
            "inputs": sum(t.bytes for t in network.inputs),
            "outputs": sum(t.bytes for t in network.outputs),
            "largest_tensor": max((t.bytes for t in network.tensors), default=0),
        },
        "flash": flash_of(source.constants),
        "macs": sum(o.macs for o in network.operations),
        "instructions_m4_estimate": sum(instructions_of(o, dsp=False) for o in network.operations),
        "instructions_m4_dsp_estimate": sum(instructions_of(o, dsp=True) for o in network.operations),
        "tensors": [_tensor(source, i, t) for i, t in enumerate(network.tensors)],
        "operators": _operators(plan, source),
        "check": {"known_answer": checked[0], "samples": list(checked[1:])},
        "notes": list(notes),
    }


def completed(
    manifest: Mapping[str, Any],
    contents: Mapping[str, bytes],
    verification: Verification | None,
    measured: Measured | None,
) -> str:
    """Return the text of net.json for the files of a folder.

    Parameters
    ----------
    manifest
        Result of `c_manifest`.
    contents
        Content of the other files by name.
    verification, measured
        Results of a verification; None without one.
    """
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    whole = {
        **manifest,
        "verified": None if verification is None else verification.as_json(),
        "compiled": None if measured is None else measured.as_json(),
        "checksums": checksums,
    }
    return json.dumps(whole, indent=1, allow_nan=False) + "\n"


def _tensor(source: Source, number: int, tensor: CTensor) -> dict[str, Any]:
    network, fmt = source.network, tensor.format
    kinds = {id(t): "input" for t in network.inputs} | {id(t): "output" for t in network.outputs}
    word = None if fmt is None else fmt.word()
    holder, before = source.arena.holder(tensor)
    inside = holder is not tensor
    return {
        "id": number,
        "name": tensor.name,
        "c_name": parameter_of(tensor) if id(tensor) in kinds else tensor.c_name,
        "kind": kinds.get(id(tensor), "intermediate"),
        "shape": list(tensor.shape),
        "dtype": "uint8" if tensor.dtype.kind == "b" else tensor.dtype.name,
        "bits": 8 * tensor.dtype.itemsize if word is None else word.bits,
        "signed": tensor.dtype.kind == "i",
        **format_as_json(fmt),
        "layout": layout_name(tensor),
        "order": order_names(tensor),
        "axes": list(tensor.order),
        "range": list(tensor.ends),
        "bytes": tensor.bytes,
        "offset": source.arena.offsets.get(tensor),
        "part_of": {"tensor": holder.name, "offset": before} if inside else None,
    }


def _operators(plan: Plan, source: Source) -> list[dict[str, Any]]:
    steps = {step.output.name: step for step in plan.steps}
    return [_operator(i, one, steps, source) for i, one in enumerate(source.network.operations)]


def _operator(number: int, one: Operation, steps: Mapping[str, BoundStep], source: Source) -> dict[str, Any]:
    bound_step = steps.get(one.output.name)
    described = _described(one, bound_step)
    return {
        "number": number,
        "name": one.output.c_name,
        "node": one.node.name or one.output.name,
        "operator": one.node.operator,
        "kind": one.kind,
        "inputs": [t.name for t in one.reads],
        "outputs": [t.name for t in one.outputs],
        "attributes": attributes_of(one.node),
        **described,
        "macs": one.macs,
        "kernels": list(dict.fromkeys(call.kernel for call in one.calls)),
        "no_code": not one.calls,
        "in_place": one in source.arena.shares,
        "flash": flash_of(one.constants),
        "scratch": one.scratch,
        "instructions_m4_estimate": instructions_of(one, dsp=False),
        "instructions_m4_dsp_estimate": instructions_of(one, dsp=True),
        "comments": list(one.comments),
        "constants": [
            {
                "c_name": c.c_name,
                "elements": int(c.array.size),
                "dtype": c.array.dtype.name,
                "bytes": int(c.array.nbytes),
                "comment": c.comment,
            }
            for c in one.constants
        ],
    }


def _described(one: Operation, bound_step: BoundStep | None) -> dict[str, Any]:
    """Return the window, rules, activation and shift of an operator."""
    found: dict[str, Any] = {
        "window": {},
        "rules": None,
        "activation": None,
        "shift": None,
        "rounding_constants": None,
    }
    if bound_step is None or bound_step.arithmetic is None:
        return found
    operator = Operator(
        one.output.c_name,
        bound_step,
        one.node.name,
        one.node.operator,
        one.kind,
        tuple(bound_step.reads),
        bound_step.output,
    )
    shift = _shift(bound_step)
    found["window"] = window_of(operator)
    found["rules"] = plain(bound_step.arithmetic)
    found["activation"] = activation_of(operator)
    found["shift"] = shift
    if isinstance(shift, int):
        found["rounding_constants"] = rounding_constants(bound_step.arithmetic.rounding, shift)
    return found


def _shift(bound_step: BoundStep) -> int | list[int] | None:
    """Return the bits that a linear operator drops, for each channel where they differ; None for others."""
    step, arithmetic = bound_step.step, bound_step.arithmetic
    formats = step.operands[0].format, bound_step.output.format
    if not isinstance(step, Linear) or arithmetic is None or not all(isinstance(one, QFormat) for one in formats):
        return None
    sums = Accumulation(step, bound_step.output, arithmetic)
    bits = np.asarray(sums.bits if sums.in_order else sums.product_bits) - bound_step.output.fraction_bits
    flat = bits.reshape(-1)
    return int(flat[0]) if flat.size == 1 or (flat == flat[0]).all() else [int(n) for n in flat]
