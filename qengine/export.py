"""PyTorch modules as ONNX files, and the golden outputs to hold an engine to.

The one room of qengine that needs torch. Nothing else imports it, and neither does ``import qengine``.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx  # noqa: TID251 - an exporter

from qengine.errors import QEngineError
from qengine.files import replacing
from qengine.golden import read_golden, save_golden

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

try:
    import torch  # noqa: TID251 - an exporter
except ImportError:
    raise QEngineError("exporting needs torch: pip install 'qengine[torch]'") from None

__all__ = [
    "SRCNN",
    "BicubicResize",
    "DynamicBicubic",
    "bicubic_resize",
    "export",
    "read_golden",
    "strip_prefix",
    "write_golden",
]


class DynamicBicubic(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """Bicubic resize by factors that are an input of the model.

    ``interpolate`` would be traced with its factors frozen into the graph. This function exports as one ONNX
    Resize node whose scales are a tensor of the graph, with the attributes that give torch's arithmetic.
    Call it as `bicubic_resize`. It has no gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Resize the last two axes.

        Parameters
        ----------
        ctx
            What autograd hands over; unused.
        x
            float tensor [N, C, H, W].
        scales
            float32 tensor [4]: 1, 1, vertical factor, horizontal factor.

        Returns
        -------
        torch.Tensor
            float tensor [N, C, floor(H * scales[2]), floor(W * scales[3])].
        """
        del ctx
        with warnings.catch_warnings():
            # The tracer warns that the factors leave the graph here; `symbolic` is what puts them back.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined, unused-ignore]
            vertical, horizontal = scales[-2:].tolist()
        return torch.nn.functional.interpolate(
            x, scale_factor=(vertical, horizontal), mode="bicubic", align_corners=False
        )

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Refuse: silence would train whatever stands before the resize on nothing.

        Raises
        ------
        QEngineError
            Always.
        """
        del ctx, gradients
        raise QEngineError("bicubic_resize has no gradient: resize before training, or detach its input")

    @staticmethod
    def symbolic(g: Any, x: Any, scales: Any) -> Any:
        """Emit the Resize node (opset 11 or later).

        Parameters
        ----------
        g
            The graph that torch is building.
        x, scales
            Values of that graph: float [N, C, H, W] and float32 [4].

        Returns
        -------
        torch.Value
            The output of the node.
        """
        roi = g.op("Constant", value_t=torch.zeros(0, dtype=torch.float32))
        return g.op(
            "Resize",
            x,
            roi,
            scales,
            mode_s="cubic",
            coordinate_transformation_mode_s="pytorch_half_pixel",
            cubic_coeff_a_f=-0.75,
            nearest_mode_s="floor",
        )


def bicubic_resize(x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Resize the last two axes with torch's bicubic kernel (a = -0.75, half-pixel centres, no antialiasing).

    Parameters
    ----------
    x
        float tensor [N, C, H, W].
    scales
        float32 tensor [4]: 1, 1, vertical factor, horizontal factor.

    Returns
    -------
    torch.Tensor
        float tensor [N, C, floor(H * scales[2]), floor(W * scales[3])]. The cubic overshoots, so values may
        lie a little outside the range of `x`.

    Raises
    ------
    QEngineError
        From ``backward``, if a gradient is asked through it.
    """
    return DynamicBicubic.apply(x, scales)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]


class BicubicResize(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """`bicubic_resize` as a module: ``readable_names`` calls its output by the attribute that holds it."""

    def forward(self, x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Return ``bicubic_resize(x, scales)``."""
        return bicubic_resize(x, scales)


class SRCNN(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """Super-resolution by three convolutions after a bicubic resize (Dong et al. 2014, arXiv:1501.00092)."""

    def __init__(self) -> None:
        super().__init__()
        self.upscaled = BicubicResize()
        self.conv1 = torch.nn.Conv2d(3, 64, 9, padding=4)
        self.relu1 = torch.nn.ReLU()
        self.conv2 = torch.nn.Conv2d(64, 32, 1)
        self.relu2 = torch.nn.ReLU()
        self.conv3 = torch.nn.Conv2d(32, 3, 5, padding=2)

    def forward(self, x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        """Enlarge images.

        Parameters
        ----------
        x
            float32 tensor [N, 3, H, W], RGB in 0..1.
        factor
            float32 tensor [4]: 1, 1, vertical factor, horizontal factor.

        Returns
        -------
        torch.Tensor
            float32 tensor [N, 3, floor(H * factor[2]), floor(W * factor[3])], RGB, not clipped.
        """
        return self.refine(self.upscaled(x, factor))

    def refine(self, upscaled: torch.Tensor) -> torch.Tensor:
        """Sharpen an image that has its final size: the three convolutions.

        Parameters
        ----------
        upscaled
            float32 tensor [N, 3, H, W].

        Returns
        -------
        torch.Tensor
            float32 tensor of the same shape.
        """
        hidden = self.relu1(self.conv1(upscaled))
        hidden = self.relu2(self.conv2(hidden))
        output: torch.Tensor = self.conv3(hidden)
        return output


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
            with _evaluating(module), _quiet_exporter():
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


def strip_prefix(state_dict: Mapping[str, Any], prefix: str | None = None) -> dict[str, Any]:
    """Take a wrapper's name off the keys of a checkpoint: ``generator.conv1.weight`` -> ``conv1.weight``.

    Parameters
    ----------
    state_dict
        A state dict, or a checkpoint that holds one under the key ``state_dict``.
    prefix
        The prefix, with or without its last dot. None: the first dotted component, which every key must
        share.

    Returns
    -------
    dict of str to torch.Tensor
        The same tensors under the shorter names, in the same order. Names cannot collide: every key loses
        the same prefix.

    Raises
    ------
    QEngineError
        If the checkpoint is empty or a key lacks the prefix; the message names the key.
    """
    inner = state_dict.get("state_dict")
    if isinstance(inner, Mapping):
        state_dict = inner
    if not state_dict:
        raise QEngineError("the checkpoint holds no tensors")
    if prefix is None:
        prefix = next(iter(state_dict)).partition(".")[0]
    start = prefix.removesuffix(".") + "."
    for key in state_dict:
        if not key.startswith(start):
            raise QEngineError(f"checkpoint key '{key}' does not begin with '{start}', so it cannot be stripped")
    return {key.removeprefix(start): value for key, value in state_dict.items()}


def write_golden(
    path: str | os.PathLike[str],
    module: torch.nn.Module,
    inputs: Mapping[str, NDArray[Any]],
    output_names: Sequence[str],
) -> None:
    """Run a module in eval mode and keep its inputs and outputs; `qengine.golden.read_golden` reads them.

    Parameters
    ----------
    path
        The .npz file, with keys ``in:<name>`` and ``out:<name>``; written whole or not at all.
    module
        What to run. It gets its own modes back.
    inputs
        Arrays in the order of the arguments of ``forward``, by tensor name.
    output_names
        A name for each tensor that ``forward`` returns.

    Raises
    ------
    QEngineError
        If the module returns another number of tensors than there are names, or the folder does not exist.
    """
    with _evaluating(module), torch.no_grad():
        result = module(*(torch.from_numpy(np.array(value)) for value in inputs.values()))
    tensors = (result,) if isinstance(result, torch.Tensor) else tuple(result)
    if len(tensors) != len(output_names):
        raise QEngineError(
            f"golden {path}: {type(module).__name__} returns {len(tensors)} tensors, "
            f"but {len(output_names)} names are given: {', '.join(output_names)}"
        )
    outputs = {name: tensor.numpy() for name, tensor in zip(output_names, tensors, strict=True)}
    save_golden(path, inputs, outputs)


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module in eval mode; afterwards every part of it has its own mode again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


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
