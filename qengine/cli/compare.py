"""`qengine compare`: the codes of a device against those of a model, down to the cause of a difference."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from qengine.atomic_files import check_writable
from qengine.cli import options
from qengine.cli.answer import Answer
from qengine.cli.operators import run_files
from qengine.cli.output.compare import as_json, as_tables, dumps_as_json, dumps_as_tables, write_html
from qengine.cli.output.progress import status
from qengine.cli.pixels import with_scale_notes
from qengine.cli.session import open_session
from qengine.data import zoo
from qengine.data.applied import Applied, Base, base_of_manifest
from qengine.deploy.c.project import CProject
from qengine.deploy.c_folder import is_c_folder
from qengine.deploy.compare import Comparison, compare_dump, read_dump
from qengine.deploy.compare.c_subject import subject_of_c
from qengine.deploy.compare.dump import Dump
from qengine.deploy.compare.from_inputs import subject_of_inputs
from qengine.deploy.compare.learn import learn
from qengine.deploy.compare.pack_subject import is_pack_folder, subject_of_pack
from qengine.deploy.compare.subject import Subject
from qengine.deploy.compare.two_dumps import compare_dumps
from qengine.errors import DumpError, OptionError
from qengine.runtime.session import InferenceSession

PANEL = "Comparison"

Reference = Annotated[
    str,
    typer.Argument(
        metavar="PACK|MODEL",
        show_default=False,
        help="A golden pack, or a network in C; an .onnx file or a bundled model, with formats; or another dump.",
    ),
]
DumpPath = Annotated[
    str,
    typer.Argument(
        metavar="DUMP",
        show_default=False,
        help="What the device computed: .npz, .npy, raw binary, hex, .csv, a log, or a folder of such files.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Reading of the dump, and files that are written."""

    order: Annotated[
        str,
        typer.Option(
            "--element-order",
            metavar="ORDER",
            help="Order of the elements in the dump: nchw, nhwc, blocks of channels as nchw16c, or auto to find out.",
            rich_help_panel=PANEL,
        ),
    ] = "auto"
    model_of_pack: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="The model of a pack or of a network in C that holds none, with its formats.",
            rich_help_panel=PANEL,
        ),
    ] = None
    only_own_errors: Annotated[
        bool,
        typer.Option(
            "--only-own-errors",
            metavar="",
            help="List only tensors with errors that were not inherited.",
            rich_help_panel=PANEL,
        ),
    ] = False
    html: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="Write a page with heat maps.", rich_help_panel=PANEL),
    ] = None
    learned: Annotated[
        Path | None,
        typer.Option(
            "--learn",
            metavar="FILE",
            help="Write the simplest rules that explain every operator as a target.",
            rich_help_panel=PANEL,
        ),
    ] = None

    def check(self) -> None:
        """Raise OptionError, before a run, for a file that could not be written after it."""
        for path in (self.html, self.learned):
            if path is not None:
                check_writable(path)


def compare(
    *,
    reference: Reference,
    dump: DumpPath,
    data: options.DataOptions,
    compared: CompareOptions,
    fixed: options.FixedPointOptions,
    kernels: options.KernelOptions,
    command: options.CommandOptions,
) -> str:
    """Compare what a device computed with a model or a pack, down to the cause.

    qengine compare pack dump

    qengine compare digits dump.npz --qformat Q4.3 --target cmsis-nn-q7

    qengine compare model.onnx trace.log --formats formats.json -i input=photo.png --json -o diff.html

    qengine compare pack traces --learn device.toml

    qengine compare net net.trace

    qengine compare a.npz b.npz

    Exit status: 0 where all codes are equal, 1 where they differ, 2 for an error.
    """
    compared.check()
    run_files(command.operators or [])
    with status(f"comparing {dump}", quiet=command.quiet), np.errstate(all="ignore"):
        if _is_dump(reference):
            _refuse_options(fixed, data, compared)
            both = compare_dumps(read_dump(reference), read_dump(dump))
            text = (dumps_as_json if command.json else dumps_as_tables)(both)
            return Answer(text, 0 if both.equal else 1)
        read = read_dump(dump)
        subject, pixels, base = _subject(reference, data, compared, fixed, kernels)
        if not subject.samples:
            subject, pixels = _with_inputs(reference, subject, read, data, fixed.formats)
        if subject.samples and base is not None:
            pixels = with_scale_notes(pixels, base, subject.session, dict(subject.samples[0]), fixed.formats)
        learned = None if compared.learned is None else learn(subject, read, compared.order)
        result = compare_dump(subject, read, compared.order)
    written = _write(compared, result, learned)
    show: Any = as_json if command.json else as_tables
    text = show(reference, dump, pixels, result, learned, written, only_own=compared.only_own_errors)
    return Answer(text, 0 if result.equal else 1)


def _is_dump(path: str) -> bool:
    """Whether a path is a dump, and neither a pack nor a model."""
    place = Path(path)
    if zoo.find(path) is not None or is_pack_folder(path) or is_c_folder(path) or place.suffix.lower() == ".onnx":
        return False
    return place.is_dir() or place.suffix.lower() in (".npz", ".npy", ".csv", ".log", ".hex", ".bin", ".raw", ".json")


def _subject(
    reference: str,
    data: options.DataOptions,
    compared: CompareOptions,
    fixed: options.FixedPointOptions,
    kernels: options.KernelOptions,
) -> tuple[Subject, Applied, Base | None]:
    """Return what a dump is compared with, how the pixels of its inputs were read, and what holds by default.

    The inputs of a pack are given, and have no preprocessing.
    """
    if is_pack_folder(reference):
        if data != options.DataOptions():
            raise OptionError("a pack has its own inputs: leave out -i, --data and how they are read")
        if compared.model_of_pack is None:
            if fixed != options.FixedPointOptions():
                raise OptionError("a pack has formats and rules of its own: leave them out, or give --model MODEL too")
            return subject_of_pack(reference), Applied(), None
        settings = fixed.session_options(kernels)
        session = open_session(zoo.path_of(compared.model_of_pack), settings)
        return subject_of_pack(reference, session), Applied(), None
    if is_c_folder(reference):
        return _subject_of_c(reference, data, compared, fixed, kernels)
    if compared.model_of_pack is not None:
        raise OptionError(f"--model is for a pack or a network in C, and {reference} is none: leave it out")
    session = open_session(zoo.path_of(reference), fixed.session_options(kernels))
    if not session.in_fixed_point:
        raise OptionError("a dump is compared with codes of fixed point: give a --qformat or --formats")
    base = data.base(reference, session.graph, fixed.formats)
    return *_with_samples(reference, session, data, kernels, base), base


def _subject_of_c(
    reference: str,
    data: options.DataOptions,
    compared: CompareOptions,
    fixed: options.FixedPointOptions,
    kernels: options.KernelOptions,
) -> tuple[Subject, Applied, Base]:
    if compared.model_of_pack is None:
        if fixed != options.FixedPointOptions():
            raise OptionError("a network in C has its own formats: leave them out, or give --model MODEL too")
        found = subject_of_c(reference)
    else:
        settings = fixed.session_options(kernels)
        found = subject_of_c(reference, open_session(zoo.path_of(compared.model_of_pack), settings))
    base = base_of_manifest(CProject.read(reference).manifest, reference)
    given, pixels = _with_samples(reference, found.session, data, kernels, base)
    return Subject(found.session, given.samples, given.labels, found.aliases), pixels, base


def _with_samples(
    model: str, session: InferenceSession, data: options.DataOptions, kernels: options.KernelOptions, base: Base
) -> tuple[Subject, Applied]:
    entry = zoo.find(model)
    if data.data is not None:
        dataset = data.open(data.data, base, session.graph, kernels.max_elements)
        pixels = data.applied(base, session.graph, dataset)
        samples = [dict(batch.feeds) for batch in dataset.batches()]
        return Subject(session, samples, [str(i) for i in range(len(samples))]), pixels
    data.check_without_data()
    given = data.arrays(session.graph, data.preprocessing(base), kernels.max_elements)
    needed = {value.name for value in session.get_inputs()}
    if given and needed - given.keys() and entry is None:
        missing = sorted(needed - given.keys())[0]
        raise OptionError(
            f"-i gives some inputs, and not '{missing}': give all of them, or none where the dump has them"
        )
    if given:
        sample = entry.sample(data.preprocessing(base)) if entry and needed - given.keys() else None
        pixels = data.applied(base, session.graph, others=sample.pixels_beside(given) if sample else ())
        return Subject(session, [{**(sample.feeds if sample else {}), **given}], ["0"]), pixels
    return Subject(session), Applied()


def _with_inputs(
    model: str, subject: Subject, read: Dump, data: options.DataOptions, formats: Path | None
) -> tuple[Subject, Applied]:
    """Return a subject with the inputs in the dump; for a bundled model, with its sample where the dump has none."""
    try:
        return subject_of_inputs(subject.session, read, subject.aliases), Applied()
    except DumpError:
        entry = zoo.find(model)
        if entry is None:
            raise
        base = data.base(model, subject.session.graph, formats)
        sample = entry.sample(data.preprocessing(base))
        pixels = data.applied(base, subject.session.graph, others=sample.pixels_beside(()))
        return Subject(subject.session, [dict(sample.feeds)], ["0"]), pixels


def _refuse_options(fixed: options.FixedPointOptions, data: options.DataOptions, compared: CompareOptions) -> None:
    if fixed != options.FixedPointOptions() or data != options.DataOptions():
        raise OptionError("two dumps are compared unchanged: leave out formats, rules and inputs")
    for name, value in (("--learn", compared.learned), ("-o", compared.html), ("--model", compared.model_of_pack)):
        if value is not None:
            raise OptionError(f"{name} needs a pack or a model to compare with")


def _write(compared: CompareOptions, result: Comparison, learned: Any) -> tuple[str, ...]:
    written = []
    if compared.html is not None:
        write_html(compared.html, result)
        written.append(str(compared.html))
    if compared.learned is not None and learned is not None:
        learned.target.save(compared.learned)
        written.append(str(compared.learned))
    return tuple(written)
