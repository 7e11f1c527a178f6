"""A program of a user, which is checked by mypy --strict and never run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import qengine
from qengine import (
    Blame,
    Calibration,
    CalibrationOptions,
    Comparison,
    Dataset,
    Evaluation,
    Grid,
    InferenceSession,
    Inspection,
    Pack,
    Preprocessing,
    QFormat,
    QuantizedModel,
    Result,
    SearchResult,
    SessionOptions,
    Sweep,
    Target,
)


def evaluated(model: Path, pictures: Path) -> Evaluation:
    found = qengine.evaluate(model, pictures, preprocessing=Preprocessing.of(scale=1 / 255), qformat="Q4.3", limit=10)
    top1: float | None = found.fixed["top1"]
    if top1 is None or found.check(top1=0.97, psnr="30dB"):
        raise SystemExit(f"{top1}: {found['logits'].saturated}")
    return found


def calibrated(model: Path, data: Dataset) -> Calibration:
    formats: Mapping[str, str | list[str]] = qengine.calibrate(model, data, CalibrationOptions(bits=6), threads=1)
    session = InferenceSession(model, SessionOptions(target=Target.named("cmsis-nn-q7")), formats=formats)
    outputs: list[NDArray[np.float32]] = session.run(None, {"x": np.zeros((1, 3), np.float32)})
    codes: NDArray[np.integer] = qengine.quantize(outputs[0], QFormat.parse("Q4.3"))
    return qengine.calibrate(model, data) if codes.size else qengine.calibrate(model, [{"x": codes}])


def wrong(session: InferenceSession, data: Dataset) -> None:
    # An error that is gone is one too: strict mode reports comments that ignore nothing.
    qengine.evaluate(session, data, qformat=4.3)  # type: ignore[arg-type]
    qengine.evaluate(session, data, qformta="Q4.3")  # type: ignore[call-arg]
    qengine.calibrate(session.graph, data, bits="6")  # type: ignore[arg-type]
    qengine.blame(session, data).tensor  # type: ignore[attr-defined] # noqa: B018


def everything(model: Path, data: Dataset, folder: Path) -> list[Result]:
    session = InferenceSession(model, qformat="Q4.3")
    blamed: Blame = qengine.blame(session, data)
    inspected: Inspection = qengine.inspect_model(model, qformat="Q4.3")
    swept: Sweep = qengine.sweep(model, folder, Grid(bits=[4, 8]), data=folder / "set.npz", jobs=2)
    searched: SearchResult = qengine.search(model, data, max_drop="1%", metric="top1")
    quantized: QuantizedModel = qengine.quantize_model(model, data, recipe="best", bits=8)
    pack: Pack = qengine.export_vectors(session, data, folder / "pack")
    compared: Comparison = qengine.compare(pack.folder, folder / "dump.npz")
    results: list[Result] = [blamed, inspected, swept, searched, quantized, pack, compared]
    for one in results:
        one.save(folder / f"{type(one).__name__}.json")
        rows: list[dict[str, object]] = one.records()
        assert one.summary, (len(rows), one.to_pandas())
    return results
