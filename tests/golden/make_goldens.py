"""Write the golden files beside this script: models exported by torch, and what torch gives for some inputs.

    python tests/golden/make_goldens.py

`index.json` gives the model of each golden file (see `qengine.data.golden`): a path from this folder, to a file
beside it or in qengine/data/zoo. Every pair is checked with onnxruntime.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import torch
from custom import write_custom
from exporters import EXPORTED
from exporters.writing import without_origin, write_exported
from families import FAMILIES
from PIL import Image
from tiny import TINY
from weights import learn_statistics, settle

from qengine.data.golden import read_golden
from qengine.torch_export import SRCNN, export, write_golden

if TYPE_CHECKING:
    from families import Family
    from numpy.typing import NDArray
    from tiny import Tiny
    from torch import nn

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ZOO = ROOT / "qengine" / "data" / "zoo"
SEED = 0
TOLERANCE = 1e-5  # of the largest output


# --- tiny networks


def write_tiny(name: str, tiny: Tiny, seed: int) -> None:
    """Export one tiny network and write its golden."""
    generator = torch.Generator().manual_seed(seed)
    module = tiny.module()
    settle(module, generator)
    export(
        module,
        (torch.zeros(tiny.traced),),
        HERE / f"{name}.onnx",
        input_names=["input"],
        output_names=tiny.outputs,
        dynamic_axes={"input": dict(tiny.free)} | {name: {0: "N"} | tiny.free_out for name in tiny.outputs},
        opset=tiny.opset,
        keep_batchnorm=tiny.keep_batchnorm,
        readable_names=tiny.readable_names,
    )
    inputs = {"input": torch.randn(tiny.run, generator=generator).numpy()}
    write_golden(HERE / f"{name}.npz", module, inputs, tiny.outputs)


# --- families of networks


def write_family(name: str, family: Family, seed: int) -> None:
    """Export the network of one family and write its golden."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # Dropout draws from torch's own
    module = family.module()
    settle(module, generator)
    learn_statistics(module, torch.rand((8, *family.image), generator=generator))
    path = HERE / "families" / name
    if family.dynamo:
        export_dynamo(module, family, path.with_suffix(".onnx"))
    else:
        export(
            module,
            (torch.zeros(1, *family.image),),
            path.with_suffix(".onnx"),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "N"}, "output": {0: "N"}},
            opset=family.opset,
            keep_batchnorm=family.keep_batchnorm,
        )
    inputs = {"input": torch.rand((2, *family.image), generator=generator).numpy()}
    write_golden(path.with_suffix(".npz"), module, inputs, ["output"])


def export_dynamo(module: nn.Module, family: Family, path: Path) -> None:
    """Export by torch.export, without what it notes of the machine that it ran on."""
    program = torch.onnx.export(
        module,
        (torch.zeros(2, *family.image),),
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        opset_version=family.opset,
        dynamo=True,
        verbose=False,
    )
    model = program.model_proto
    without_origin(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


# --- what both exporters write


def write_exporters(seed: int) -> dict[str, str]:
    """Export the networks of `exporters`, write their goldens, and return the model of each."""
    index = {}
    for number, (name, one) in enumerate(EXPORTED.items(), seed):
        generator = torch.manual_seed(number)
        module = one.module()
        settle(module, generator)
        index |= write_exported(HERE / "exporters", name, one, module, number)
    return {f"exporters/{golden}": f"exporters/{model}" for golden, model in index.items()}


# --- SRCNN and digits


def factor(vertical: float, horizontal: float) -> NDArray[np.float32]:
    """Return the second input of SRCNN."""
    return np.array([1, 1, vertical, horizontal], np.float32)


def load_weights(module: nn.Module, path: Path) -> None:
    """Give a torch module the weights of the ONNX file that was exported from it."""
    tensors = onnx.load(path).graph.initializer
    weights = {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in tensors}
    # ONNX has no place for the number of batches that a BatchNormalization has seen.
    weights |= {name: value for name, value in module.state_dict().items() if "num_batches" in name}
    module.load_state_dict(weights)


def write_srcnn() -> None:
    """Write the bundled SRCNN on its sample, and on a 32x32 part of it."""
    module = SRCNN()
    load_weights(module, ZOO / "srcnn.onnx")
    with Image.open(ZOO / "srcnn_sample.png") as image:
        pixels = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    for name, part in (("srcnn_x3", pixels[..., 30:62, 20:52]), ("srcnn_sample", pixels)):
        write_golden(HERE / f"{name}.npz", module, {"input": part, "factor": factor(3, 3)}, ["output"])


def write_seeded_srcnn(seed: int) -> None:
    """Export an SRCNN as torch begins it, at factor 2, and write what it gives at another size and other factors."""
    generator = torch.manual_seed(seed)  # torch's own, which the weights come from
    module = SRCNN()
    export(
        module,
        (torch.rand(1, 3, 8, 8, generator=generator), torch.from_numpy(factor(2, 2))),
        HERE / "srcnn_seed.onnx",
        input_names=["input", "factor"],
        output_names=["output"],
        dynamic_axes={"input": {0: "N", 2: "H", 3: "W"}, "output": {0: "N", 2: "H_out", 3: "W_out"}},
    )
    for suffix, shape, given in (
        ("", (2, 3, 13, 10), factor(1.5, 2.5)),
        ("_x3", (1, 3, 9, 11), factor(3, 3)),
        ("_half", (1, 3, 18, 12), factor(0.5, 1)),
    ):
        inputs = {"input": torch.rand(shape, generator=generator).numpy(), "factor": given}
        write_golden(HERE / f"srcnn_seed{suffix}.npz", module, inputs, ["output"])


def write_digits() -> None:
    """Write the bundled digits network on twenty held-out digits, two of each."""
    script = ROOT / "zoo_training" / "train_digits.py"
    spec = importlib.util.spec_from_file_location(script.stem, script)
    training = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(training)
    module = training.Digits10()
    load_weights(module, ZOO / "digits.onnx")
    with np.load(ZOO / "digits_heldout.npz") as held_out:
        chosen = np.concatenate([np.flatnonzero(held_out["labels"] == digit)[:2] for digit in range(10)])
        images = held_out["images"][chosen, None].astype(np.float32) / np.float32(255)
    write_golden(HERE / "digits.npz", module, {"image": images}, ["logits"])


def check(golden: Path, model: Path) -> float:
    """Compare a golden with onnxruntime.

    Returns
    -------
    float
        The largest difference as a share of the largest output.

    Raises
    ------
    SystemExit
        If it is above `TOLERANCE`.
    """
    inputs, outputs = read_golden(golden)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    results = session.run(list(outputs), inputs)
    worst = max(
        float(np.abs(result - wanted).max() / np.abs(wanted).max())
        for result, wanted in zip(results, outputs.values(), strict=True)
    )
    if not worst <= TOLERANCE:
        raise SystemExit(f"{golden.name}: onnxruntime differs from torch by {worst:.2g} of the largest output")
    return worst


def main() -> None:
    """Write everything, check it, list it."""
    torch.set_num_threads(1)
    write_srcnn()
    write_digits()
    write_seeded_srcnn(SEED)
    for seed, (name, tiny) in enumerate(TINY.items(), SEED + 1):
        write_tiny(name, tiny, seed)
    for seed, (name, family) in enumerate(FAMILIES.items(), SEED + 100):
        write_family(name, family, seed)
    write_custom(SEED)
    exported = write_exporters(SEED + 200)
    models = dict.fromkeys(("srcnn_x3", "srcnn_sample"), "../../qengine/data/zoo/srcnn.onnx")
    models["digits"] = "../../qengine/data/zoo/digits.onnx"
    models |= dict.fromkeys(("srcnn_seed", "srcnn_seed_x3", "srcnn_seed_half"), "srcnn_seed.onnx")
    models |= {name: f"{name}.onnx" for name in TINY}
    models |= {f"families/{name}": f"families/{name}.onnx" for name in FAMILIES}
    index = {f"{name}.npz": model for name, model in models.items()}
    for name, model in index.items():
        worst, size = check(HERE / name, HERE / model), (HERE / name).stat().st_size
        print(f"{name:<36} {size:8} bytes, onnxruntime within {worst:.1e}")  # noqa: T201 - a script
    index |= exported  # of element types and loops that onnxruntime does not all run
    (HERE / "index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()
