"""`qengine export`: files for a device and its team."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from qengine.analysis.target_check import target_notes
from qengine.atomic_files import check_folder
from qengine.cli import options, parsing
from qengine.cli.answer import Answer
from qengine.cli.command_line import written_line
from qengine.cli.operators import run_files
from qengine.cli.output import c as output_of_c
from qengine.cli.output.progress import status
from qengine.cli.output.vectors import as_json, as_tables
from qengine.cli.pixels import with_scale_notes
from qengine.cli.session import open_session
from qengine.data import zoo
from qengine.data.applied import Applied, Base
from qengine.deploy.c_folder import is_c_folder
from qengine.deploy.vectors import VectorOptions, export_vectors
from qengine.deploy.vectors.pack import is_pack
from qengine.errors import OptionError
from qengine.runtime.session import InferenceSession

PACK = "Pack"
C = "C"

_SAMPLES = 4
"""Samples of the data that are looked at without --limit."""

Folder = Annotated[
    Path,
    typer.Option(
        "-o",
        "--out",
        metavar="FOLDER",
        help="Folder to write. A pack that is there is replaced, any other folder is refused.",
        rich_help_panel=PACK,
    ),
]


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """Files of a pack, and the searches for its vectors."""

    kinds: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="LIST",
            help="Kinds of files: npy (always), hex (for $readmemh, with test benches), c, mif, coe.",
            rich_help_panel=PACK,
        ),
    ] = "npy"
    accumulators: Annotated[
        bool,
        typer.Option(
            "--accumulators", metavar="", help="Write the sums of each operator before rounding.", rich_help_panel=PACK
        ),
    ] = False
    fetch: options.Fetch = None
    lanes: Annotated[
        int, typer.Option(min=1, metavar="N", help="Words of a line of hex, .mif and .coe.", rich_help_panel=PACK)
    ] = 1
    first_lane: Annotated[
        str,
        typer.Option(metavar="END", help="End of a line with its first word: low (right), high.", rich_help_panel=PACK),
    ] = "low"
    element_order: Annotated[
        str,
        typer.Option(
            "--element-order",
            metavar="ORDER",
            help="Order of elements in files other than .npy: nchw, nhwc, or channels in blocks, as nchwc4.",
            rich_help_panel=PACK,
        ),
    ] = "nchw"
    edges: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Most edge vectors of the network; 0 for none.", rich_help_panel=PACK),
    ] = 8
    operator_vectors: Annotated[
        bool,
        typer.Option(
            "--operator-vectors/--no-operator-vectors", help="Make vectors of single operators.", rich_help_panel=PACK
        ),
    ] = True
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the searches.", rich_help_panel=PACK)] = 0

    def vector_options(self) -> VectorOptions:
        """Return the options of the pack."""
        return VectorOptions(
            kinds=self.kinds,
            accumulators=self.accumulators,
            fetch=None if self.fetch is None else tuple(self.fetch),
            lanes=self.lanes,
            first_lane=self.first_lane,
            element_order=self.element_order,
            edges=self.edges,
            operator_vectors=self.operator_vectors,
            seed=self.seed,
        )


CFolder = Annotated[
    Path,
    typer.Option(
        "-o",
        "--out",
        metavar="FOLDER",
        help="Folder to write. A network in C that is there is replaced, any other folder is refused.",
        rich_help_panel=C,
    ),
]


@dataclass(frozen=True, kw_only=True)
class COptionsTyped:
    """Files in C, and their checks."""

    name: Annotated[
        str, typer.Option(metavar="NAME", help="Prefix of all names in C and of the files.", rich_help_panel=C)
    ] = "net"
    one_file: Annotated[
        bool,
        typer.Option(
            "--one-file", metavar="", help="Write NAME.c with kernels and weights, and NAME.h.", rich_help_panel=C
        ),
    ] = False
    trace: Annotated[
        bool,
        typer.Option(
            "--trace",
            metavar="",
            help="Write the model too: `qengine compare FOLDER TRACE` then needs nothing else.",
            rich_help_panel=C,
        ),
    ] = False
    check: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Compare the outputs of N more samples in the self-test.",
            rich_help_panel=C,
        ),
    ] = 0
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            metavar="",
            help="Compile with the gcc or clang that is there, and compare every tensor with the runtime.",
            rich_help_panel=C,
        ),
    ] = False
    ram: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Refuse a larger arena, such as 64K, and name the tensors at its peak.",
            rich_help_panel=C,
        ),
    ] = None
    drop_softmax: Annotated[
        bool,
        typer.Option(
            "--drop-softmax",
            metavar="",
            help="Leave out a Softmax or LogSoftmax at the end; the largest element stays where it is.",
            rich_help_panel=C,
        ),
    ] = False


def vectors(
    *,
    model: options.Model,
    out: Folder,
    data: options.DataOptions,
    pack: PackOptions,
    fixed: options.FixedPointOptions,
    kernels: options.KernelOptions,
    command: options.CommandOptions,
) -> str:
    """Write a golden pack for a hardware team: codes, edge vectors, test benches.

    qengine export vectors digits --qformat Q4.3 --limit 4 --as hex -o pack

    qengine export vectors model.onnx --formats formats.json --data set.npz --target cmsis-nn-q7 -o pack
    """
    wanted = pack.vector_options()
    entry = zoo.find(model)
    check_folder(out, is_pack)
    settings = fixed.session_options(kernels)
    run_files(command.operators or [])
    name = data.data or (model if entry else None)
    with status(f"exporting {model}", quiet=command.quiet), np.errstate(all="ignore"):
        session = open_session(zoo.path_of(model), settings)
        if not session.in_fixed_point:
            raise OptionError("vectors are codes of a run in fixed point: give a --qformat or --formats")
        if name is None and {value.name for value in session.get_inputs()} - {
            text.split("=")[0] for text in data.inputs or ()
        }:
            raise OptionError("--data is needed: give the samples to run the model on, or each input with -i")
        base = data.base(model, session.graph, fixed.formats)
        if name is None:
            data.check_without_data()
            pixels = data.applied(base, session.graph)
            feeds = [data.arrays(session.graph, data.preprocessing(base), kernels.max_elements)]
        else:
            dataset = data.open(name, base, session.graph, kernels.max_elements)
            pixels = data.applied(base, session.graph, dataset)
            count = data.limit or _SAMPLES
            feeds = []
            for batch in dataset.batches():
                if len(feeds) * dataset.batch >= count:
                    break
                feeds.append(dict(batch.feeds))
        pixels = with_scale_notes(pixels, base, session, feeds[0] if feeds else {}, fixed.formats)
        preprocessing = pixels.used or base.recorded
        result = export_vectors(session, feeds, out, wanted, source=name or "typed", preprocessing=preprocessing)
    return (as_json if command.json else as_tables)(model, pixels, result, session.notes)


def c(
    *,
    model: options.Model,
    out: CFolder,
    data: options.DataOptions,
    shapes: options.Shapes = None,
    written: COptionsTyped,
    fixed: options.FixedPointOptions,
    kernels: options.KernelOptions,
    command: options.CommandOptions,
) -> str:
    """Write a network as C99, with a self-test: no malloc, no float.

    qengine export c digits --qformat Q4.3 -o net --verify

    qengine export c model.onnx --formats formats.json --target cmsis-nn-q7 --shape input=1,3,32,32 -o net --ram 64K

    qengine export c model.onnx --formats formats.json --data set.npz --trace -o net

    An input that decides shapes, as -i factor=1,1,3,3, is a constant in C. What C cannot compute is refused by name.

    Exit status: 1 where --verify finds a tensor that differs, 2 for an error.

    It computes the codes of the runtime.
    """
    from qengine.deploy.c import COptions, export_c  # not for other exports, which they would slow down

    wanted = COptions(**vars(written))
    entry = zoo.find(model)
    check_folder(out, is_c_folder)
    settings = fixed.session_options(kernels)
    run_files(command.operators or [])
    with status(f"exporting {model}", quiet=command.quiet), np.errstate(all="ignore"):
        session = open_session(zoo.path_of(model), settings)
        lengths = parsing.shapes(shapes or [], session.graph)
        base = data.base(model, session.graph, fixed.formats)
        feeds, pixels = _samples(model if entry else None, session, data, base, lengths, kernels.max_elements)
        pixels = with_scale_notes(pixels, base, session, feeds[0], fixed.formats)
        preprocessing = pixels.used or base.recorded
        line = written_line("c", model, written, fixed, data, shapes)
        project = export_c(session, out, wanted, shapes=lengths, data=feeds, command=line, preprocessing=preprocessing)
    notes = (*session.notes, *target_notes(session))
    text = (output_of_c.as_json if command.json else output_of_c.as_tables)(model, pixels, project, notes)
    verified = project.verification
    return Answer(text, 1 if verified is not None and verified["differences"] else 0)


def _samples(
    bundled: str | None,
    session: InferenceSession,
    data: options.DataOptions,
    base: Base,
    shapes: Mapping[str, tuple[int, ...]],
    max_elements: int,
) -> tuple[list[dict[str, Any]], Applied]:
    """Return feeds, samples of the data of one shape or the inputs that were typed, and how pixels were read."""
    typed = {text.split("=")[0] for text in data.inputs or ()}
    name = data.data or (None if typed >= {value.name for value in session.get_inputs()} else bundled)
    if name is None:
        data.check_without_data()
        arrays = data.arrays(session.graph, data.preprocessing(base), max_elements)
        return [arrays], data.applied(base, session.graph)
    found: list[dict[str, Any]] = []
    dataset = data.open(name, base, session.graph, max_elements)
    pixels = data.applied(base, session.graph, dataset)
    for batch in dataset.batches():
        feeds = dict(batch.feeds)
        wanted = {**{key: np.shape(array) for key, array in (found[0] if found else feeds).items()}, **shapes}
        if all(np.shape(array) == tuple(wanted[key]) for key, array in feeds.items()):
            found.append(feeds)
        if len(found) == (data.limit or _SAMPLES):
            break
    if found:
        return found, pixels
    fixed = {key: array for key, array in feeds.items() if key in session.network.value_inputs}
    return [fixed | data.arrays(session.graph, data.preprocessing(base), max_elements)], pixels
