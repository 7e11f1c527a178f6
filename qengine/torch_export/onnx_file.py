"""A module as a checked ONNX file."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import onnx  # noqa: TID251 - an exporter
import torch  # noqa: TID251 - an exporter

from qengine.atomic_files import replacing
from qengine.errors import QEngineError
from qengine.torch_export.modes import evaluating

if TYPE_CHECKING:
    import os


def export(
    module: torch.nn.Module,
    args: tuple[Any, ...],
    path: str | os.PathLike[str],
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
    opset: int = 17,
    keep_batchnorm: bool = False,
    readable_names: bool = False,
) -> None:
    """Write a module, in inference form, as a checked ONNX file; on any failure `path` is left as it was.

    Parameters
    ----------
    module
        What to export. It is traced in eval mode and gets its own modes back.
    args
        Example arguments of its ``forward``, with the shapes and dtypes that the trace is to see.
    path
        The .onnx file; its folder must exist.
    input_names, output_names
        Names of the graph's inputs and outputs, in order.
    dynamic_axes
        For an input or output, the axes that may vary and the names of their sizes.
    opset
        The ONNX operator set.
    keep_batchnorm
        Keep every BatchNormalization as a node of its own; torch otherwise folds it into the convolution
        before it.
    readable_names
        Call an activation by its module, ``block1.conv``, rather than ``/block1/conv/Conv_output_0``.

    Raises
    ------
    QEngineError
        If torch cannot export the module, the file written does not pass ONNX's checker, a
        BatchNormalization would be lost or left in training form, or the folder does not exist.
    """
    with replacing(path) as temporary:
        try:
            with evaluating(module), _quiet_exporter():
                torch.onnx.export(
                    module,
                    args,
                    temporary,
                    input_names=list(input_names),
                    output_names=list(output_names),
                    dynamic_axes=dynamic_axes,
                    opset_version=opset,
                    dynamo=False,
                    # EVAL is what makes torch fold; PRESERVE keeps the nodes, and the module is in eval mode.
                    training=torch.onnx.TrainingMode.PRESERVE if keep_batchnorm else torch.onnx.TrainingMode.EVAL,
                )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
            raise QEngineError(f"torch cannot export {type(module).__name__}: {error}") from error
        model = onnx.load(temporary)
        if readable_names:
            _rename_tensors(model.graph, _readable_names(model.graph))
            onnx.save(model, temporary)
        if keep_batchnorm:
            _check_batchnorm(module, model.graph)
        try:
            onnx.checker.check_model(temporary, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise QEngineError(f"the export of {type(module).__name__} is not valid ONNX: {error}") from error


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the TorchScript exporter says of itself, and nothing that it says of the model."""
    with warnings.catch_warnings():
        for category, message in (
            (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export"),
            (DeprecationWarning, "The feature will be removed. Please remove usage of this function"),
            # About parameters that could no longer be trained; an exported model is not.
            (UserWarning, "It is recommended that constant folding be turned off"),
            (UserWarning, "Constant folding - "),
        ):
            warnings.filterwarnings("ignore", message=re.escape(message), category=category)
        yield


def _check_batchnorm(module: torch.nn.Module, graph: onnx.GraphProto) -> None:
    kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    wanted = sum(isinstance(part, kinds) for part in module.modules())
    nodes = [node for node in graph.node if node.op_type == "BatchNormalization"]
    if len(nodes) < wanted:
        raise QEngineError(f"only {len(nodes)} of {wanted} BatchNormalization nodes outlived the export")
    for node in nodes:
        training = any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
        if training or len(node.output) != 1:
            raise QEngineError(f"node '{node.name}': BatchNormalization was exported in training form")


def _readable_names(graph: onnx.GraphProto) -> dict[str, str]:
    """Names for the tensors that torch calls ``/block1/conv/Conv_output_0``: ``block1.conv``.

    Where one module computes several tensors the operator's name is added, then a number. Constants count for
    nothing here and always get their operator's name.
    """
    outputs = [output for node in graph.node for output in node.output]
    found = {
        output: ((match[1] or "").replace("/", "."), match[2])
        for output in outputs
        if (match := re.fullmatch(r"/(?:(.*)/)?(\w+?)(?:_\d+)?_output_\d+", output))
    }
    tensors_of = Counter(module for module, operator in found.values() if operator != "Constant")
    taken = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    taken.update(output for output in outputs if output not in found)
    names: dict[str, str] = {}
    for output, (module, operator) in found.items():
        alone = module and tensors_of[module] == 1 and operator != "Constant"
        name = module if alone else f"{module}.{operator.lower()}".lstrip(".")
        count, free = 1, name
        while free in taken:
            count, free = count + 1, f"{name}_{count}"
        taken.add(free)
        names[output] = free
    return names


def _rename_tensors(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            # A branch of an If, the body of a Loop: they read the tensors of the graph around them.
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename_tensors(attribute.g, names)
    for value in graph.value_info:
        value.name = names.get(value.name, value.name)
