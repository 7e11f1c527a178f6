"""A network with an operator of its own, as both exporters of torch write it, and what torch gives for an input.

custom/script.onnx is of the TorchScript exporter, from a symbolic; custom/dynamo.onnx of torch.export, from a
translation; custom/golden.npz of both. ONNX Runtime does not know the operator, and checks nothing here.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxscript
import torch
from torch import nn
from weights import settle

from qengine.torch_export import write_golden

HERE = Path(__file__).parent / "custom"
DOMAIN = "mydomain"
OPSET = 18


@torch.library.custom_op("mydomain::soft_shrink", mutates_args=())
def soft_shrink(x: torch.Tensor, threshold: torch.Tensor, gain: float) -> torch.Tensor:
    """gain * sign(x) * max(|x| - threshold, 0), a threshold for each channel."""
    return gain * x.sign() * (x.abs() - threshold.reshape(1, -1, 1, 1)).clamp_min(0.0)


@soft_shrink.register_fake
def _(x: torch.Tensor, threshold: torch.Tensor, gain: float) -> torch.Tensor:
    del threshold, gain
    return torch.empty_like(x)


class Denoiser(nn.Module):
    """Convolution, shrinkage with a learned threshold for each channel, convolution: one step of a learned ISTA."""

    def __init__(self) -> None:
        super().__init__()
        self.analysis = nn.Conv2d(1, 6, 3, padding=1)
        self.threshold = nn.Parameter(torch.tensor([0.0625, 0.125, 0.25, 0.5, 0.375, 0.1875]))
        self.synthesis = nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 1, H, W] -> [N, 1, H, W]."""
        return self.synthesis(torch.relu(soft_shrink(self.analysis(x), self.threshold, 1.5))) + x


def export_script(module: nn.Module, example: torch.Tensor) -> onnx.ModelProto:
    """Export by tracing; the operator becomes a node by its symbolic."""

    def symbolic(g: torch.Graph, x: torch.Value, threshold: torch.Value, gain: torch.Value) -> torch.Value:
        factor = torch.onnx.symbolic_helper._maybe_get_const(gain, "f")
        return g.op(f"{DOMAIN}::SoftShrink", x, threshold, gain_f=factor).setType(x.type())

    torch.onnx.register_custom_op_symbolic("mydomain::soft_shrink", symbolic, OPSET)
    path = HERE / "script.onnx"
    torch.onnx.export(
        module,
        (example,),
        path,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "N", 2: "H", 3: "W"}, "output": {0: "N", 2: "H", 3: "W"}},
        opset_version=OPSET,
        custom_opsets={DOMAIN: 1},
        dynamo=False,
    )
    return onnx.load(path)


def export_dynamo(module: nn.Module, example: torch.Tensor) -> onnx.ModelProto:
    """Export by torch.export; the operator becomes a node by its translation."""
    real = [("T", ["tensor(float)"], "")]
    formal = onnx.defs.OpSchema.FormalParameter
    schema = onnx.defs.OpSchema(
        "SoftShrink",
        DOMAIN,
        1,
        inputs=[formal("x", "T"), formal("threshold", "T")],
        outputs=[formal("y", "T")],
        type_constraints=real,
        attributes=[onnx.defs.OpSchema.Attribute("gain", onnx.defs.OpSchema.AttrType.FLOAT)],
    )
    operator = onnxscript.values.Op(onnxscript.values.Opset(DOMAIN, 1), "SoftShrink", schema)

    def translation(x: onnxscript.FLOAT, threshold: onnxscript.FLOAT, gain: float) -> onnxscript.FLOAT:
        return operator(x, threshold, gain=gain)

    program = torch.onnx.export(
        module,
        (example,),
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("N"), 2: torch.export.Dim("H"), 3: torch.export.Dim("W")},),
        opset_version=OPSET,
        custom_translation_table={torch.ops.mydomain.soft_shrink.default: translation},
        dynamo=True,
        verbose=False,
    )
    return program.model_proto


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write a model without what an exporter notes of the machine that it ran on."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    assert [node.op_type for node in graph.node if node.domain == DOMAIN] == ["SoftShrink"]
    assert not model.functions
    onnx.save(model, path)


def write_custom(seed: int) -> None:
    """Write both models and their golden."""
    HERE.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    module = Denoiser().eval()
    thresholds = module.threshold.detach().clone()
    settle(module, generator)
    module.threshold.data.copy_(thresholds)
    example = torch.zeros(2, 1, 8, 9)
    write(export_script(module, example), HERE / "script.onnx")
    write(export_dynamo(module, example), HERE / "dynamo.onnx")
    inputs = {"input": torch.randn((2, 1, 11, 10), generator=generator).numpy()}
    write_golden(HERE / "golden.npz", module, inputs, ["output"])
