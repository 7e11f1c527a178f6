"""Options of a model's inputs: the inputs of one run, or many samples."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from qengine.cli import parsing
from qengine.cli.options.panels import INPUTS
from qengine.cli.options.preprocessing import PreprocessingOptions
from qengine.data.datasets import Dataset, open_dataset, samples_at_once
from qengine.data.preprocessing import Preprocessing
from qengine.data.zoo import ENTRIES, Entry
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
            help="An input: a .npy, .npz, .pb, .wav or image file, or numbers: factor=1,1,3,3. Repeatable.",
            rich_help_panel=INPUTS,
        ),
    ] = None

    def arrays(self, graph: Graph, preprocessing: Preprocessing, max_elements: int) -> dict[str, Any]:
        """Return the arrays that were typed, by the name of the input; see `parsing.inputs`."""
        return parsing.inputs(self.inputs or (), graph, preprocessing, max_elements)


@dataclass(frozen=True, kw_only=True)
class _SampleOptions:
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Samples: an .npz (arrays by input name, labels or target), an image, a folder of images, .npy files "
            f"or test_data_set_*, or a bundled set: {', '.join(ENTRIES)}. Default: the set of a bundled model.",
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
        int | None, typer.Option(min=1, metavar="N", help="Use the first N samples.", rich_help_panel=INPUTS)
    ] = None


@dataclass(frozen=True, kw_only=True)
class DataOptions(InputOptions, _SampleOptions):
    """Samples that a model is run on; -i gives inputs that are the same in every run."""

    def data_scale(self, name: str, entry: Entry | None) -> Preprocessing:
        """Return how the images of data become numbers; see `open`."""
        return self.preprocessing(ENTRIES.get(name) or entry)

    def open(
        self, name: str, entry: Entry | None, graph: Graph, max_elements: int, *, several: bool = False
    ) -> Dataset:
        """Return the samples.

        Parameters
        ----------
        name
            Name of the data: a path, or a bundled set.
        entry
            The bundled model that is run, if it is one: images are read as it takes them.
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
        preprocessing = self.data_scale(name, entry)
        options: dict[str, Any] = {
            "preprocessing": preprocessing,
            "fixed": self.arrays(graph, preprocessing, max_elements),
            "limit": self.limit,
            "max_elements": max_elements,
        }
        found = open_dataset(name, graph, batch=self.batch, **options)
        if several and self.batch is None and (more := samples_at_once(graph, found)) > 1:
            return open_dataset(name, graph, batch=more, **options)
        return found
