"""Export the networks of this folder, and write what torch gives for each of their runs."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import onnx
import torch

from qengine.data.golden import save_golden

from . import Noise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from . import Exported


def write_exported(folder: Path, name: str, one: Exported, module: torch.nn.Module, seed: int) -> dict[str, str]:
    """Export a network and write its goldens.

    Returns
    -------
    dict
        The model's file of each golden file.
    """
    generator = torch.Generator().manual_seed(seed)
    module.eval()
    runs = [{key: _input(given, generator) for key, given in run.items()} for run in one.runs]
    path = folder / f"{name}.onnx"
    path.with_suffix(".onnx.data").unlink(missing_ok=True)
    with warnings.catch_warnings(action="ignore"):
        model = (_by_dynamo if one.how == "dynamo" else _by_torchscript)(module, one, runs[0])
    without_origin(model)
    if one.external:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=256)
    else:
        onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)
    index = {}
    for number, run in enumerate(runs):
        with torch.no_grad():
            found = module(*run.values())
        names = [value.name for value in model.graph.output]  # kept functions lose those that were asked for
        outputs = dict(zip(names, (found,) if isinstance(found, torch.Tensor) else found, strict=True))
        golden = path.with_name(f"{name}_{number}.npz")
        save_golden(golden, _arrays(run), _arrays(outputs))
        index[golden.name] = path.name
    return index


def _by_torchscript(module: torch.nn.Module, one: Exported, run: Mapping[str, torch.Tensor]) -> onnx.ModelProto:
    file = io.BytesIO()
    torch.onnx.export(
        torch.jit.script(module) if one.how == "scripted" else module,
        tuple(run.values()),
        file,
        input_names=list(run),
        output_names=list(one.outputs),
        dynamic_axes=dict(one.free) or None,
        opset_version=one.opset,
        dynamo=False,
        **one.options,
    )
    return onnx.load_from_string(file.getvalue())


def _by_dynamo(module: torch.nn.Module, one: Exported, run: Mapping[str, torch.Tensor]) -> onnx.ModelProto:
    named = {name: torch.export.Dim(name) for axes in one.free.values() for name in axes.values()}
    shapes = tuple({axis: named[name] for axis, name in one.free.get(key, {}).items()} for key in run)
    program = torch.onnx.export(
        module,
        tuple(run.values()),
        input_names=list(run),
        output_names=list(one.outputs),
        dynamic_shapes=shapes,
        opset_version=one.opset,
        dynamo=True,
        verbose=False,
        **one.options,
    )
    return program.model_proto


def without_origin(model: onnx.ModelProto) -> None:
    """Remove, in place, what an exporter notes of the source and the machine."""
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
    for function in model.functions:
        function.ClearField("doc_string")
        for node in function.node:
            node.ClearField("doc_string")
    _clear(model.graph)


def _clear(graph: onnx.GraphProto) -> None:
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _clear(attribute.g)


def _input(given: Any, generator: torch.Generator) -> torch.Tensor:
    if not isinstance(given, Noise):
        return given
    if given.dtype == torch.int64:
        return torch.randint(10, given.shape, generator=generator)
    if given.dtype == torch.bool:
        return torch.rand(given.shape, generator=generator) < 0.5
    return (given.mean + given.scale * torch.randn(given.shape, generator=generator)).to(given.dtype)


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    """Return tensors as arrays; a bfloat16, which NumPy's files do not have, as its 16 bits."""
    views = {k: t.view(torch.uint16) if t.dtype == torch.bfloat16 else t for k, t in tensors.items()}
    return {name: tensor.contiguous().numpy() for name, tensor in views.items()}
