"""`qengine export`: files for a device and its team."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from qengine.atomic_files import check_folder
from qengine.cli import options
from qengine.cli.operators import run_files
from qengine.cli.options.panels import INPUTS
from qengine.cli.output.console import status
from qengine.cli.output.vectors import as_json, as_tables
from qengine.cli.session import open_session
from qengine.data import zoo
from qengine.deploy.vectors import VectorOptions, export_vectors
from qengine.deploy.vectors.pack import is_pack
from qengine.errors import OptionError

PACK = "Pack"

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
Samples = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Use the first N samples of the data.", rich_help_panel=INPUTS),
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
    tensors: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Write the files of these tensors, and of the inputs. Default: all.",
            rich_help_panel=PACK,
        ),
    ] = None
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
            "--layout",
            metavar="L",
            help="Order of elements in files other than .npy: nchw, nhwc, or channels in blocks, as nchwc4.",
            rich_help_panel=PACK,
        ),
    ] = "nchw"
    edges: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Most edge vectors of the network; 0 for none.", rich_help_panel=PACK),
    ] = 8
    no_operator_vectors: Annotated[
        bool,
        typer.Option(
            "--no-operator-vectors", metavar="", help="Make no vectors of single operators.", rich_help_panel=PACK
        ),
    ] = False
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the searches.", rich_help_panel=PACK)] = 0

    def vector_options(self) -> VectorOptions:
        """Return the options of the pack."""
        return VectorOptions(
            kinds=self.kinds,
            accumulators=self.accumulators,
            tensors=self.tensors,
            lanes=self.lanes,
            first_lane=self.first_lane,
            layout=self.element_order,
            edges=self.edges,
            operator_vectors=not self.no_operator_vectors,
            seed=self.seed,
        )


def vectors(
    *,
    model: options.Model,
    out: Folder,
    data: options.DataBesideLayout,
    samples: Samples = None,
    pack: PackOptions,
    fixed: options.FixedPointOptions,
    kernels: options.KernelOptions,
    command: options.CommandOptions,
) -> str:
    """Write a golden pack for a hardware team: codes of every tensor, edge vectors, a mutation score, test benches.

    qengine export vectors digits --qformat Q4.3 --samples 4 --as hex -o pack

    qengine export vectors model.onnx --formats formats.json --data set.npz --target cmsis-nn-q7 -o pack
    """
    wanted = pack.vector_options()
    if samples is not None and data.limit is not None:
        raise OptionError("--samples and --limit say the same: give one of them")
    entry = zoo.find(model)
    check_folder(out, is_pack)
    settings = fixed.session_options(kernels)
    run_files(command.operators or [])
    name = data.data or (model if entry else None)
    with status(f"exporting {model}", quiet=command.json), np.errstate(all="ignore"):
        session = open_session(zoo.path_of(model), settings)
        if not session.in_fixed_point:
            raise OptionError("vectors are codes of a run in fixed point: give a --qformat or --formats")
        if name is None and {value.name for value in session.get_inputs()} - {
            text.split("=")[0] for text in data.inputs or ()
        }:
            raise OptionError("--data is needed: give the samples to run the model on, or each input with -i")
        if name is None:
            feeds = [data.arrays(session.graph, data.pixel_scale(entry), kernels.max_elements)]
        else:
            dataset = data.open(name, entry, session.graph, kernels.max_elements)
            count = samples or data.limit or 4
            feeds = []
            for batch in dataset.batches():
                if len(feeds) * dataset.batch >= count:
                    break
                feeds.append(dict(batch.feeds))
        result = export_vectors(session, feeds, out, wanted, source=name or "typed")
    return (as_json if command.json else as_tables)(model, result, session.notes)
