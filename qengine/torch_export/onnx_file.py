"""Export of a module to an ONNX file that passes ONNX's checker."""

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
from qengine.torch_export.eval_mode import evaluating

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
    """Write a module, in inference form, to a checked ONNX file. After an error `path` is unchanged.

    Parameters
    ----------
    module
        The module. It is traced in eval mode, and its modes are restored afterwards.
    args
        Example arguments of its ``forward``, with the shapes and dtypes of the trace.
    path
        The .onnx file; its folder must exist.
    input_names, output_names
        Names of the graph's inputs and outputs, in order.
    dynamic_axes
        Axes that may vary, with the names of their lengths, by input or output.
    opset
        Version of the ONNX operator set.
    keep_batchnorm
        Whether to keep every BatchNormalization as a node of its own; by default torch folds it into the convolution
        before it.
    readable_names
        Whether to name an activation after its module, ``block1.conv``, and not ``/block1/conv/Conv_output_0``.

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
                    # With EVAL torch folds; PRESERVE keeps the nodes, and the module is in eval mode anyway.
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
    """Silence the warnings of the TorchScript exporter about itself, but none about the model."""
    with warnings.catch_warnings():
        for category, message in (
            (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export"),
            (DeprecationWarning, "The feature will be removed. Please remove usage of this function"),
            # These are about training of the exported model, which nobody does.
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
        raise QEngineError(f"only {len(nodes)} of {wanted} BatchNormalization nodes are left after the export")
    for node in nodes:
        training = any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
        if training or len(node.output) != 1:
            raise QEngineError(f"node '{node.name}': BatchNormalization was exported in training form")


def _readable_names(graph: onnx.GraphProto) -> dict[str, str]:
    """Return readable names such as ``block1.conv`` for tensors that torch names ``/block1/conv/Conv_output_0``.

    If one module computes several tensors, the name of the operator is added, then a number. A constant always gets
    the name of its operator, and does not count as a tensor of the module.
    """
    outputs = [output for node in graph.node for output in node.output]
    parts = {
        output: ((match[1] or "").replace("/", "."), match[2])
        for output in outputs
        if (match := re.fullmatch(r"/(?:(.*)/)?(\w+?)(?:_\d+)?_output_\d+", output))
    }
    tensors_of = Counter(module for module, operator in parts.values() if operator != "Constant")
    taken = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    taken.update(output for output in outputs if output not in parts)
    names: dict[str, str] = {}
    for output, (module, operator) in parts.items():
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
            # Branches of an If and bodies of a Loop read tensors of the graph around them.
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename_tensors(attribute.g, names)
    for value in graph.value_info:
        value.name = names.get(value.name, value.name)
