"""Options of preprocessing: how pictures become the numbers of a model."""

from dataclasses import dataclass
from typing import Annotated

import typer

from qengine.cli import parsing
from qengine.cli.options.panels import PREPROCESSING
from qengine.data.preprocessing import Preprocessing
from qengine.data.zoo import Entry


@dataclass(frozen=True, kw_only=True)
class PreprocessingOptions:
    """Preprocessing as typed; None where something was left out. See `Preprocessing.of`."""

    mean: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Mean that is subtracted: one number, or one per channel. As torchvision has it, of pictures in "
            "[0, 1], such as 0.485,0.456,0.406; where a number is beyond 1, of pixels 0..255.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Standard deviation that is divided by, on the scale of --mean, such as 0.229,0.224,0.225.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Factor of pixels 0..255 in place of --std, such as 1/255: (pixel - mean) * scale.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Resize pictures first: the shorter side to N, or H,W to height and width.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Cut N x N, or H,W, out of the middle of the resized picture.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    bgr: Annotated[
        bool,
        typer.Option("--bgr", metavar="", help="The model's first channel is blue.", rich_help_panel=PREPROCESSING),
    ] = False
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="LAYOUT",
            help="Where images have their channels: nchw (first) or nhwc (last). Needed where shapes do not tell.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    convert: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Changes to make to images that do not fit: grey (to 3 channels), alpha (drop it), depth (cut 16 bits "
            "to 8), size (resize).",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None

    def preprocessing(self, entry: Entry | None) -> Preprocessing:
        """Return the preprocessing that was typed; what was left out is that of a bundled model, or the default.

        Raises
        ------
        OptionError
            If an option has another form, or two contradict each other.
        """
        return Preprocessing.of(
            scale=parsing.some_numbers("--scale", self.scale),
            mean=parsing.some_numbers("--mean", self.mean),
            std=parsing.some_numbers("--std", self.std),
            resize=parsing.some_lengths("--resize", self.resize),
            crop=parsing.some_lengths("--crop", self.crop),
            bgr=self.bgr or None,
            layout=self.layout,
            convert=parsing.some_words("--convert", self.convert),
            base=entry.preprocessing if entry else None,
        )
