"""Options of a model's inputs: the inputs of one run, or many samples."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from qengine.cli import parsing
from qengine.cli.options.preprocessing import PreprocessingOptions
from qengine.cli.panels import INPUTS
from qengine.cli.warnings_shown import show_notes
from qengine.data.applied import Applied, Base, FormatsFiles, applied, base_of
from qengine.data.datasets import Dataset, in_fast_batches, open_dataset
from qengine.data.datasets.kinds import described
from qengine.data.preprocessing import Preprocessing
from qengine.data.zoo import ENTRIES, Entry, find
from qengine.errors import OptionError
from qengine.model.graph import Graph

Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=N,N,...",
        help="Shape of an input whose shape the model leaves open: x=1,3,224,224. Repeatable.",
        rich_help_panel=INPUTS,
    ),
]


@dataclass(frozen=True, kw_only=True)
class InputOptions(PreprocessingOptions):
    """Inputs of one run, and how images become numbers."""

    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="NAME=VALUE",
            help="An input: numbers, as factor=1,1,3,3, or an image, .npy, .npz, .pb, .wav or .parquet. Repeatable.",
            rich_help_panel=INPUTS,
        ),
    ] = None

    def base(self, model: str, graph: Graph, formats: FormatsFiles = None) -> Base:
        """Return the preprocessing that holds where nothing is typed: recorded, bundled, or the default.

        Parameters
        ----------
        model
            The model as it was typed.
        graph
            Graph of the model, whose file may record one.
        formats
            Formats files that may record it.

        Raises
        ------
        QEngineError
            If a file cannot be read, or two record preprocessings that differ.
        """
        return base_of(formats, graph, self._bundled(model), model=model)

    def _bundled(self, model: str) -> Entry | None:
        """Return the bundled model or set that says how pixels are read."""
        return find(model)

    def arrays(self, graph: Graph, preprocessing: Preprocessing, max_elements: int) -> dict[str, Any]:
        """Return the arrays that were typed, by the name of the input; see `parsing.inputs`."""
        return parsing.inputs(self.inputs or (), graph, preprocessing, max_elements)

    def applied(
        self, base: Base, graph: Graph, dataset: Dataset | None = None, *, others: Iterable[str] = ()
    ) -> Applied:
        """Return what is applied to pixels, after a check against what a file records.

        Parameters
        ----------
        base
            Preprocessing that holds where nothing is typed.
        graph
            The model.
        dataset
            Samples, if there are some in addition to the inputs that were typed.
        others
            Names of further inputs that are made of pixels, such as that of a bundled sample.

        Raises
        ------
        OptionError
            If pixels are read otherwise than a file records.
        """
        names = [*parsing.image_inputs(self.inputs or (), graph), *others, *(dataset.pixels if dataset else ())]
        return applied(base, self.preprocessing(base), names, typed=self.typed_options())


@dataclass(frozen=True, kw_only=True)
class _SampleOptions:
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help=f"Samples: {described()}, or a bundled set ({', '.join(ENTRIES)}). Default: that of a bundled model.",
            rich_help_panel=INPUTS,
        ),
    ] = None
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Labels of the samples: a .csv or .txt of file names and labels, or of a label a line; a .npy; or the "
            "column of a table.",
            rich_help_panel=INPUTS,
        ),
    ] = None
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Feed N samples at once. Default: the model's batch size; where it is open, one or some.",
            rich_help_panel=INPUTS,
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Use N samples: the first; of class folders, as many of each class.",
            rich_help_panel=INPUTS,
        ),
    ] = None

    def check_without_data(self) -> None:
        """Raise OptionError for an option that says how samples are read, where there are none."""
        for name in ("labels", "batch", "limit"):
            if getattr(self, name) is not None:
                raise OptionError(f"--{name} belongs to the samples of --data: give data, or leave it out")


@dataclass(frozen=True, kw_only=True)
class DataOptions(InputOptions, _SampleOptions):
    """Samples that a model is run on; -i gives inputs that are the same in every run."""

    def _bundled(self, model: str) -> Entry | None:
        return ENTRIES.get(self.data or "") or super()._bundled(model)

    def open(self, name: str, base: Base, graph: Graph, max_elements: int, *, several: bool = False) -> Dataset:
        """Return the samples.

        Parameters
        ----------
        name
            Name of the data: a path, or a bundled set.
        base
            Preprocessing of images where nothing was typed.
        graph
            The model.
        max_elements
            Largest number of elements of a sample.
        several
            Whether to feed some samples at once, where the model takes any number and no batch size was typed.

        Raises
        ------
        QEngineError
            If there is no such data, or it does not fit the model.
        """
        preprocessing = self.preprocessing(base)
        options: dict[str, Any] = {
            "preprocessing": preprocessing,
            "fixed": self.arrays(graph, preprocessing, max_elements),
            "limit": self.limit,
            "max_elements": max_elements,
        }
        found = open_dataset(name, graph, labels=self.labels, batch=self.batch, **options)
        show_notes(found.notes)
        return in_fast_batches(found, graph, self.batch) if several else found
