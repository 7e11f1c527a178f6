"""The options of the commands, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

from qengine.data.zoo import ENTRIES
from qengine.kernels.isa import BEST_FIRST
from qengine.qformat import Overflow, Rounding
from qengine.quantization.calibration import Method

_INPUT = "Inputs and outputs"
_FIXED = "Fixed point"
_CHOICE = "How formats are chosen"
_GRID = "Grid"
_RUN = "Run"

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="An .onnx file, or a bundled model, which comes with an input: "
        + "; ".join(f"{entry.name} ({entry.summary})" for entry in ENTRIES.values()),
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "-i",
        "--input",
        metavar="NAME=VALUE",
        help="An input: a .npy, .npz, .pb or image file, or numbers: factor=1,1,3,3. Repeatable.",
        rich_help_panel=_INPUT,
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=N,N,...",
        help="The shape of an input that has no fixed one: x=1,3,224,224. Repeatable.",
        rich_help_panel=_INPUT,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", metavar="OUT", help="Save the outputs: .png (an image), .npy or .npz.", rich_help_panel=_INPUT
    ),
]
Fetch = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TENSOR",
        help="Answer with this tensor, be it inside the model, instead of the outputs. Repeatable.",
        rich_help_panel=_INPUT,
    ),
]
Raw = Annotated[
    bool,
    typer.Option("--raw", metavar="", help="Save integer codes, not real numbers.", rich_help_panel=_INPUT),
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="VALUE",
        help="What the output should be: a picture, or a label for each item.",
        rich_help_panel=_INPUT,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="An .npz (arrays by input name, labels or target), a folder of images, .npy files or test_data_set_*, or "
        f"a bundled set: {', '.join(ENTRIES)}. Default: the one of a bundled model.",
        rich_help_panel=_INPUT,
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Feed so many samples at once. Default: as many as the model takes; of any number one, or some.",
        rich_help_panel=_INPUT,
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Use the first N samples.", rich_help_panel=_INPUT)]
FormatsOut = Annotated[
    Path | None,
    typer.Option("-o", "--out", metavar="FILE", help="Save the formats: a file for --formats.", rich_help_panel=_INPUT),
]
Bits = Annotated[int, typer.Option(min=2, max=16, metavar="B", help="Word length.", rich_help_panel=_CHOICE)]
WeightBits = Annotated[
    int | None,
    typer.Option(min=2, max=16, metavar="B", help="Word length of constants, if another.", rich_help_panel=_CHOICE),
]
ActivationBits = Annotated[
    int | None,
    typer.Option(min=2, max=16, metavar="B", help="Word length of all else, if another.", rich_help_panel=_CHOICE),
]
CalibrationMethod = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="M",
        help=f"{', '.join(Method)}: least squared error, nothing saturates, or next to nothing.",
        rich_help_panel=_CHOICE,
    ),
]
Percentile = Annotated[
    float | None,
    typer.Option(metavar="P", help="Of --method percentile. Default: 99.99.", rich_help_panel=_CHOICE),
]
Headroom = Annotated[
    float,
    typer.Option(
        metavar="X",
        help="Hold activations X times as large as those in the data, too, such as 1.25.",
        rich_help_panel=_CHOICE,
    ),
]
Unsigned = Annotated[
    bool,
    typer.Option(
        "--unsigned",
        metavar="",
        help="UQm.n for what is never negative, such as after a Relu.",
        rich_help_panel=_CHOICE,
    ),
]
ChannelWeights = Annotated[
    bool,
    typer.Option(
        "--per-channel", metavar="", help="Weights get a format for each output channel.", rich_help_panel=_CHOICE
    ),
]
TieJoins = Annotated[
    bool,
    typer.Option(
        "--tie-joins",
        metavar="",
        help="One format for what Concat, Where, Max and Min read and give.",
        rich_help_panel=_CHOICE,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        metavar="X",
        help="Images become (pixel - mean) * scale, and back; such as 1/255.",
        rich_help_panel=_INPUT,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(metavar="X", help="In pixels 0..255; one number, or one for each channel.", rich_help_panel=_INPUT),
]
Bgr = Annotated[
    bool, typer.Option("--bgr", metavar="", help="The model's first channel is blue.", rich_help_panel=_INPUT)
]
QFormat = Annotated[
    str | None,
    typer.Option(
        metavar="F",
        help="Format of every activation, such as Q4.3 or UQ0.8. Without one: float32.",
        rich_help_panel=_FIXED,
    ),
]
WeightQFormat = Annotated[
    str | None,
    typer.Option(
        metavar="F",
        help="Format of every constant. Default: for each the finest that holds it, of as many bits.",
        rich_help_panel=_FIXED,
    ),
]
Formats = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help='JSON file of formats by tensor name, which go before --qformat: {"relu1": "UQ1.7"}.',
        rich_help_panel=_FIXED,
    ),
]
RoundingMode = Annotated[
    str | None,
    typer.Option("--rounding", metavar="R", help=f"{', '.join(Rounding)}. Default: half_even.", rich_help_panel=_FIXED),
]
OverflowMode = Annotated[
    str | None,
    typer.Option("--overflow", metavar="O", help=f"{', '.join(Overflow)}. Default: saturate.", rich_help_panel=_FIXED),
]
AccumulatorBits = Annotated[
    int | None,
    typer.Option(
        min=2,
        max=64,
        metavar="A",
        help="Keep the low A bits of every sum of products. Default: all.",
        rich_help_panel=_FIXED,
    ),
]
PerChannel = Annotated[
    bool,
    typer.Option(
        "--per-channel", metavar="", help="Weights get a format for each output channel.", rich_help_panel=_FIXED
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", metavar="", help="Refuse operators that would compute in float32.", rich_help_panel=_FIXED
    ),
]
Isa = Annotated[
    str | None,
    typer.Option(
        metavar="I",
        help=f"Which kernels to use: {', '.join(isa.name for isa in BEST_FIRST)} or reference. Default: the best here.",
        rich_help_panel=_RUN,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        metavar="N",
        help="Default: as many as there are cores. Never changes a bit in fixed point.",
        rich_help_panel=_RUN,
    ),
]
Operators = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE.py",
        help="Run a Python file first, which registers operators (qengine.register_operator). Repeatable.",
        rich_help_panel=_RUN,
    ),
]
MaxElements = Annotated[
    int, typer.Option(min=1, metavar="N", help="Refuse larger tensors and images.", rich_help_panel=_RUN)
]
Json = Annotated[
    bool, typer.Option("--json", metavar="", help="Print one JSON object and nothing else.", rich_help_panel=_RUN)
]
